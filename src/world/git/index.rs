//! git's index: the files that it tracks (gitformat-index(5), versions 2 to 4).

/// The size of a file's seconds, nanoseconds, device, inode, mode, owner and size.
const STAT: usize = 40;

/// A name in the index, from the root of the work tree.
pub(super) struct Tracked {
    pub(super) name: Vec<u8>,
    /// A sparse index has a folder in place of its files.
    pub(super) is_folder: bool,
}

/// The tracked names; none if that is uncertain: damaged, another version, or split over two files.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<Tracked>> {
    // SHA-1 or SHA-256: only the repository's configuration says which, but only one of them fits exactly.
    [20, 32].into_iter().find_map(|hash| Reader { bytes: bytes.get(..bytes.len().checked_sub(hash)?)?, hash, at: 0 }.all())
}

struct Reader<'b> {
    /// Everything except the hash at the end.
    bytes: &'b [u8],
    /// The length of a hash.
    hash: usize,
    at: usize,
}

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?) as usize)
    }

    fn all(mut self) -> Option<Vec<Tracked>> {
        let signature = self.take(4)?;
        let version = self.number().filter(|version| signature == b"DIRC" && (2..=4).contains(version))?;
        let count = self.number()?;
        let mut all: Vec<Tracked> = Vec::new();
        for _ in 0..count {
            let before = all.last().map_or(&[][..], |entry| &entry.name);
            let entry = self.entry(version, before)?;
            // Sorted; a name in conflict occurs up to three times.
            (entry.name.as_slice() >= before).then_some(())?;
            all.push(entry);
        }
        while self.at < self.bytes.len() {
            let name = self.take(4)?;
            let size = self.number()?;
            self.take(size)?;
            // An extension that must be understood begins with a small letter: `link` refers to another file.
            (name[0].is_ascii_uppercase() || name == b"sdir").then_some(())?;
        }
        Some(all)
    }

    fn entry(&mut self, version: usize, before: &[u8]) -> Option<Tracked> {
        let start = self.at;
        let stat = self.take(STAT)?;
        self.take(self.hash)?;
        let flags = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        if flags & 0x4000 != 0 {
            (version > 2).then_some(())?;
            self.take(2)?;
        }
        let mut name = if version == 4 { before[..before.len().checked_sub(self.offset()?)?].to_vec() } else { Vec::new() };
        let rest = &self.bytes[self.at..];
        let rest = self.take(rest.iter().position(|&byte| byte == 0)?)?;
        name.extend_from_slice(rest);
        let end = if version == 4 { 1 } else { 8 - (self.at - start) % 8 };
        let (length, padding) = (usize::from(flags & 0xfff), self.take(end)?);
        let sound = !name.is_empty() && length == name.len().min(0xfff) && padding.iter().all(|&byte| byte == 0);
        sound.then_some(Tracked { name, is_folder: stat[24..28] == 0o040_000_u32.to_be_bytes() })
    }

    /// How many bytes to remove from the end of the previous name: seven bits a byte, and each further byte adds one (as in a pack's
    /// OFS_DELTA).
    fn offset(&mut self) -> Option<usize> {
        let mut byte = self.take(1)?[0];
        let mut value = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.take(1)?[0];
            value = (value.checked_add(1)? << 7) + usize::from(byte & 0x7f);
        }
        Some(value)
    }
}
