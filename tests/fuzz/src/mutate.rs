//! A plain mutator with a fixed seed: what libFuzzer's does without its guidance, on a stable compiler.

use foobar_tests::chance::Chance;

/// Values at which code changes its mind.
const OCTETS: [u8; 12] = [0x00, 0x01, 0x04, 0x06, 0x11, 0x2c, 0x3a, 0x40, 0x45, 0x60, 0x7f, 0xff];

/// Makes inputs out of others.
pub struct Mutator<'a> {
    chance: Chance,
    seeds: &'a [Vec<u8>],
    /// Pieces that mean something to what reads them.
    words: &'a [&'a str],
}

impl<'a> Mutator<'a> {
    /// A mutator of some inputs; the seed determines all that it makes.
    pub fn new(seed: u64, seeds: &'a [Vec<u8>], words: &'a [&'a str]) -> Self {
        Self { chance: Chance::new(seed), seeds, words }
    }

    /// The next input: one of the seeds, changed in a few places.
    pub fn input(&mut self) -> Vec<u8> {
        let mut bytes = self.seed();
        for _ in 0..=self.chance.below(6) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn seed(&mut self) -> Vec<u8> {
        self.seeds.get(self.chance.below(self.seeds.len())).cloned().unwrap_or_default()
    }

    fn octet(&mut self) -> u8 {
        if self.chance.once_in(2) { self.chance.one(&OCTETS) } else { self.chance.byte() }
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.chance.below(bytes.len() + 1);
        let end = (at + self.chance.below(16)).min(bytes.len());
        match self.chance.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                let to = self.chance.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            3 => {
                let other = self.seed();
                let from = self.chance.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            4 if !self.words.is_empty() => {
                let word = self.chance.one(self.words);
                bytes.splice(at..end, word.bytes());
            }
            5 => bytes.insert(at, self.octet()),
            _ if at < bytes.len() => {
                bytes[at] =
                    if self.chance.once_in(2) { self.octet() } else { bytes[at] ^ 1 << self.chance.below(8) };
            }
            _ => bytes.push(self.octet()),
        }
    }
}
