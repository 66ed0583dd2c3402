//! Whether an RSA key is sound enough to seal to: checks on the numbers themselves.

use std::cmp::Ordering;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Limb, NonZero, Odd, Resize};

use crate::model::{Error, Result};

/// The number of this set of checks. Increase it with each new check, so that every key is judged again once.
pub const CHECKS: u32 = 1;

/// No flag allows fewer bits.
pub const LEAST_BITS: u32 = 2048;

/// Neither Go nor aws-lc accepts more.
const MOST_BITS: u32 = 8192;

/// Every prime below this is tried as a factor.
const SMALL_PRIMES_BELOW: u64 = 8192;

/// How far up from the square root Fermat's method searches for two close factors.
const FERMAT_STEPS: u32 = 1000;

/// The size of a modulus, in bits.
pub fn bits(n: &[u8]) -> u32 {
    BoxedUint::from_be_slice_vartime(n).bit_width()
}

/// Judges a public key's size and exponent; `least_bits` is the operator's minimum.
pub fn check_form(n: &[u8], e: &[u8], least_bits: u32) -> Result<()> {
    let n = BoxedUint::from_be_slice_vartime(n);
    check_size(n.bit_width(), least_bits)?;
    check_exponent(e, &n)
}

/// Judges a modulus: whether its factors are known or easily found.
pub fn check_factors(n: &[u8]) -> Result<()> {
    let n = BoxedUint::from_be_slice_vartime(n);
    let unsound = |what: &str, why: &str| Err(unsound(what, why));
    let words = le_words(&n);
    if words.first().is_none_or(|low| low % 2 == 0) {
        return unsound("the RSA modulus is even", "its factors are known");
    }
    if let Some(prime) = small_factor(&words) {
        return unsound(&format!("the RSA modulus can be divided by {prime}"), "its factors are known");
    }
    if is_roca(&words) {
        return unsound(
            "the RSA modulus has the shape of a ROCA key (CVE-2017-15361)",
            "keys that certain Infineon chips made can be factored",
        );
    }
    if fermat_factors(&n) {
        return unsound("the two primes of the RSA modulus are too close to each other", "Fermat's method finds them at once");
    }
    Ok(())
}

/// Judges whether the modulus is itself a prime. This takes longer than all other checks.
pub fn check_not_prime(n: &[u8]) -> Result<()> {
    if is_probably_prime(&BoxedUint::from_be_slice_vartime(n)) {
        return Err(unsound("the RSA modulus is itself a prime", "then everybody can compute the private key"));
    }
    Ok(())
}

fn unsound(what: &str, why: &str) -> Error {
    Error::refused(what, "make a new key with `seal-secrets keygen`; do not seal to this one").why(why)
}

fn check_size(bits: u32, least_bits: u32) -> Result<()> {
    if bits < LEAST_BITS {
        let help = "make a new key with `seal-secrets keygen`";
        return Err(Error::refused(format!("the RSA key has {bits} bits; less than {LEAST_BITS} can be broken"), help));
    }
    if bits < least_bits {
        let help = format!("make a new key with `seal-secrets keygen`, or allow it with `--allow-rsa-bits {bits}`");
        return Err(Error::refused(format!("the RSA key has {bits} bits, less than the {least_bits} of the controller's own keys"), help));
    }
    if bits > MOST_BITS {
        let help = "make a new key with `seal-secrets keygen`";
        return Err(Error::bad_input(format!("the RSA key has {bits} bits; the limit is {MOST_BITS}"), help));
    }
    Ok(())
}

/// Odd, from 65537 to 2^32: what Go and aws-lc accept, and large enough against small-exponent attacks.
fn check_exponent(e: &[u8], n: &BoxedUint) -> Result<()> {
    let e = BoxedUint::from_be_slice_vartime(e);
    let problem = match e.bit_width() {
        _ if e.cmp_vartime(n) != Ordering::Less => "is not smaller than the modulus",
        bits if bits > 32 => "is larger than 2^32",
        bits if bits < 17 => "is smaller than 65537",
        _ if le_words(&e)[0].is_multiple_of(2) => "is even",
        _ => return Ok(()),
    };
    Err(Error::refused(format!("the RSA public exponent {problem}"), "make a new key with `seal-secrets keygen`: its exponent is 65537"))
}

/// Little-endian 32-bit words.
fn le_words(n: &BoxedUint) -> Vec<u64> {
    let bytes = n.to_le_bytes();
    let word = |chunk: &[u8]| chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    bytes.chunks(4).map(word).collect()
}

/// `n mod m`, for `m` below 2^32.
fn modulo(words: &[u64], m: u64) -> u64 {
    words.iter().rev().fold(0, |rest, word| (rest << 32 | word) % m)
}

fn primes_below(limit: u64) -> impl Iterator<Item = u64> {
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (3..limit).step_by(2).filter(is_prime)
}

/// An odd prime below [`SMALL_PRIMES_BELOW`] that divides it. Primes are tried in products that fit 32 bits, so that each pass over the
/// modulus tests several.
fn small_factor(words: &[u64]) -> Option<u64> {
    let mut batch = Vec::new();
    let mut product = 1;
    let divisor = |batch: &[u64], product: u64| {
        let rest = modulo(words, product);
        batch.iter().copied().find(|prime| rest.is_multiple_of(*prime))
    };
    for prime in primes_below(SMALL_PRIMES_BELOW) {
        if product * prime > u64::from(u32::MAX) {
            if let Some(found) = divisor(&batch, product) {
                return Some(found);
            }
            batch.clear();
            product = 1;
        }
        batch.push(prime);
        product *= prime;
    }
    divisor(&batch, product)
}

/// The fingerprint of CVE-2017-15361 (Nemec et al., "The Return of Coppersmith's Attack", section 2): modulo each of the first odd primes
/// the modulus is a power of 65537. A sound key matches with a probability below 2^-27.
fn is_roca(words: &[u64]) -> bool {
    primes_below(168).all(|prime| {
        let rest = modulo(words, prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * 65537 % prime;
            power == rest
        })
    })
}

/// Fermat's method: with a from the root of n upwards, a² − n is a square if the factors are close. A modulus that is itself a square shows
/// at the first step.
fn fermat_factors(n: &BoxedUint) -> bool {
    // Room for the growth of a² beyond n.
    let n = n.resize(n.bits_precision() + 64);
    let number = |of: u32| BoxedUint::from(of).resize(n.bits_precision());
    let mut first = n.floor_sqrt_vartime();
    if first.wrapping_square() != n {
        first = first.wrapping_add(number(1));
    }
    let rest = first.wrapping_square().wrapping_sub(&n);
    let of_moduli = MODULI.map(|modulus| (modulus, remainder(&first, modulus), remainder(&rest, modulus)));
    (0..FERMAT_STEPS).any(|step| {
        // (a + k)² − n = rest + 2ak + k²
        let k = u64::from(step);
        let may_be = of_moduli.iter().all(|(modulus, first, rest)| is_square_below(*modulus, (rest + 2 * first * k + k * k) % modulus));
        may_be && is_square(&first.wrapping_add(number(step)).wrapping_square().wrapping_sub(&n))
    })
}

/// Modulo 64 and these primes few remainders are those of squares, so the root of hardly any number is needed.
const MODULI: [u64; 8] = [64, 5, 7, 11, 13, 17, 19, 23];

fn remainder(n: &BoxedUint, modulus: u64) -> u64 {
    n.rem_limb(NonZero::new(Limb::from(modulus)).expect("none is zero")).0
}

/// Whether it is the remainder of a square.
fn is_square_below(modulus: u64, remainder: u64) -> bool {
    (0..modulus).any(|root| root * root % modulus == remainder)
}

fn is_square(n: &BoxedUint) -> bool {
    n.floor_sqrt_vartime().wrapping_square() == *n
}

/// Fermat's little theorem to base 2: every prime passes, and no product of two random primes.
fn is_probably_prime(n: &BoxedUint) -> bool {
    let Some(modulus) = Odd::new(n.clone()).into_option() else { return false };
    let params = BoxedMontyParams::new_vartime(modulus);
    let one = BoxedMontyForm::one(&params);
    // To base 2, multiplying is doubling: faster than any other base.
    let power = (0..n.bit_width()).rev().fold(one.clone(), |power, bit| {
        let square = power.square();
        if bit > 0 && n.bit_vartime(bit) { square.double() } else { square }
    });
    power == one
}
