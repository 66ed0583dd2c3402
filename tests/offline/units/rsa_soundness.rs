//! `pipeline/rsa_soundness.rs`: each shape that a key may not have, just inside and just outside of what is refused. The numbers are
//! computed independently.

use crypto_bigint::{BoxedUint, Limb, NonZero, Resize};
use seal_secrets::pipeline::rsa_soundness::{check_factors, check_form, check_not_prime};

const E: &[u8] = &[1, 0, 1];

/// With room for every number of these tests.
fn number(n: u64) -> BoxedUint {
    BoxedUint::from(n).resize(8320)
}

fn power_of_two(exponent: u32) -> BoxedUint {
    number(1).shl(exponent)
}

fn rest(n: &BoxedUint, divisor: u64) -> u64 {
    n.rem_limb(NonZero::new(Limb::from(divisor)).unwrap()).0
}

/// Whether nothing below 8192 divides it.
fn is_rough(n: &BoxedUint) -> bool {
    (2..8192).all(|divisor| rest(n, divisor) != 0)
}

/// The first number with no small factor, from this one on, in steps of `step`.
fn rough(mut n: BoxedUint, step: &BoxedUint) -> BoxedUint {
    while !is_rough(&n) {
        n = n.wrapping_add(step);
    }
    n
}

fn rough_of(bits: u32) -> BoxedUint {
    rough(power_of_two(bits - 1), &number(1))
}

fn odd_primes_to(most: u64) -> Vec<u64> {
    (3..=most).filter(|n| (2..*n).all(|divisor| n % divisor != 0)).collect()
}

/// What is wrong with a key; empty if it is sound.
fn refusal(n: &BoxedUint, e: &[u8], least_bits: u32) -> String {
    let n = n.to_be_bytes_trimmed_vartime();
    let checked = check_form(&n, e, least_bits).and_then(|()| check_factors(&n)).and_then(|()| check_not_prime(&n));
    checked.err().map_or(String::new(), |error| error.what())
}

#[test]
fn the_size_is_from_what_is_allowed_to_8192_bits() {
    for (bits, least, says) in [
        (2047, 0, "the RSA key has 2047 bits; less than 2048 can be broken"),
        (2048, 0, ""),
        (2048, 2048, ""),
        (2048, 2049, "the RSA key has 2048 bits, less than the 2049 of the controller's own keys"),
        (8192, 8192, ""),
        (8193, 2048, "the RSA key has 8193 bits; the limit is 8192"),
    ] {
        assert_eq!(refusal(&rough_of(bits), E, least), says, "{bits} bits, {least} allowed");
    }
}

#[test]
fn the_exponent_is_odd_and_from_65537_to_2_to_the_32() {
    let n = rough_of(2048);
    for (e, says) in [
        (0, "is smaller than 65537"),
        (3, "is smaller than 65537"),
        (65535, "is smaller than 65537"),
        (65536, "is even"),
        (65537, ""),
        (65538, "is even"),
        (65539, ""),
        ((1 << 32) - 2, "is even"),
        ((1 << 32) - 1, ""),
        (1 << 32, "is larger than 2^32"),
        ((1 << 32) + 1, "is larger than 2^32"),
    ] {
        let says = if says.is_empty() { String::new() } else { format!("the RSA public exponent {says}") };
        assert_eq!(refusal(&n, &number(e).to_be_bytes(), 2048), says, "{e}");
    }
    let of = |e: &BoxedUint| refusal(&n, &e.to_be_bytes(), 2048);
    assert_eq!(of(&n), "the RSA public exponent is not smaller than the modulus");
    assert_eq!(of(&n.wrapping_sub(number(1))), "the RSA public exponent is larger than 2^32");
}

#[test]
fn every_prime_below_8192_is_found_as_a_factor() {
    let rough = rough_of(2048);
    let of = |factor| refusal(&rough.wrapping_mul(number(factor)), E, 2048);
    assert_eq!(of(2), "the RSA modulus is even");
    let primes = odd_primes_to(8209);
    let (next, small) = primes.split_last().unwrap();
    assert_eq!((small.len(), small.last(), *next), (1027, Some(&8191), 8209));
    for prime in small {
        assert_eq!(of(*prime), format!("the RSA modulus can be divided by {prime}"));
    }
    assert_eq!(of(*next), "");
}

#[test]
fn a_modulus_has_the_shape_of_roca_only_if_it_has_it_for_every_prime() {
    let primes = odd_primes_to(167);
    let powers = |prime: u64| (0..prime).scan(1, move |power, _| Some(std::mem::replace(power, *power * 65537 % prime)));
    let other = |prime: u64| (1..prime).find(|rest| powers(prime).all(|power| power != *rest));
    // By the Chinese remainder theorem: a power modulo each prime, but not modulo this one.
    let modulus = |except: Option<u64>| {
        let (mut n, mut product) = (number(0), number(1));
        for prime in &primes {
            let wanted = if except == Some(*prime) { other(*prime) } else { powers(*prime).nth(1) };
            while Some(rest(&n, *prime)) != wanted {
                n = n.wrapping_add(&product);
            }
            product = product.wrapping_mul(number(*prime));
        }
        rough(n.wrapping_add(product.shl(1900)), &product)
    };
    assert_eq!(refusal(&modulus(None), E, 2048), "the RSA modulus has the shape of a ROCA key (CVE-2017-15361)");
    let telling: Vec<u64> = primes.iter().copied().filter(|prime| other(*prime).is_some()).collect();
    assert_eq!(telling.len(), 17);
    for prime in telling {
        assert_eq!(refusal(&modulus(Some(prime)), E, 2048), "", "{prime}");
    }
}

#[test]
fn primes_are_too_close_if_fermats_method_meets_them_in_its_steps() {
    // (a − d)(a + d) with the smallest d for which the method begins `steps` below a.
    let product = |steps: u64| {
        let mut a = power_of_two(1100);
        loop {
            a = a.wrapping_add(number(1));
            let least = a.wrapping_mul(number(2 * steps)).wrapping_sub(number(steps * steps));
            let root = least.floor_sqrt_vartime();
            let d = if root.wrapping_square() == least { root } else { root.wrapping_add(number(1)) };
            let (p, q) = (a.wrapping_sub(&d), a.wrapping_add(&d));
            if is_rough(&p) && is_rough(&q) {
                return p.wrapping_mul(&q);
            }
        }
    };
    // With no step it is a square.
    for steps in [0, 1, 2, 999] {
        let says = "the two primes of the RSA modulus are too close to each other";
        assert_eq!(refusal(&product(steps), E, 2048), says, "{steps} steps");
    }
    assert_eq!(refusal(&product(1000), E, 2048), "");
}

#[test]
fn a_prime_is_no_modulus_and_a_product_of_two_is() {
    let mersenne = |exponent| power_of_two(exponent).wrapping_sub(number(1));
    let proth = power_of_two(2208).wrapping_mul(number(3)).wrapping_add(number(1));
    for prime in [mersenne(2203), mersenne(4253), proth] {
        assert_eq!(refusal(&prime, E, 2048), "the RSA modulus is itself a prime");
    }
    assert_eq!(refusal(&mersenne(1279).wrapping_mul(mersenne(2203)), E, 2048), "");
}
