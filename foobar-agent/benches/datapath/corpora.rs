//! Which corpus is asked for, and its packets.

use anyhow::{Result, bail};
use clap::Args;
use foobar_tests::chance::Chance;
use foobar_tests::corpus::{Corpus, Families, Probe, Shape};

/// Seed of the packets; the rules have their own.
const SEED: u64 = 24;

#[derive(Args, Clone)]
pub(crate) struct Selection {
    /// What the rules look like.
    #[arg(long, value_parser = shape)]
    shape: Shape,
    /// IPv4, IPv6 or both.
    #[arg(long, value_parser = families)]
    families: Families,
    /// Rules, or members of the set; several, one after the other.
    #[arg(long, required = true)]
    size: Vec<usize>,
    /// Different packets that are sent in turn.
    #[arg(long, default_value_t = 65_536)]
    packets: usize,
}

fn shape(name: &str) -> Result<Shape> {
    match Shape::ALL.into_iter().find(|shape| shape.name() == name) {
        Some(shape) => Ok(shape),
        None => bail!("one of {}", Shape::ALL.map(Shape::name).join(", ")),
    }
}

fn families(name: &str) -> Result<Families> {
    match Families::ALL.into_iter().find(|families| families.name() == name) {
        Some(families) => Ok(families),
        None => bail!("one of {}", Families::ALL.map(Families::name).join(", ")),
    }
}

impl Selection {
    pub(crate) fn corpora(&self) -> impl Iterator<Item = (usize, Corpus)> {
        self.size.iter().map(|&size| (size, Corpus::new(self.shape, self.families, size)))
    }

    /// Names and values of the families of packets.
    pub(crate) fn packet_families(&self) -> &'static [(&'static str, bool)] {
        match self.families {
            Families::V4 => &[("IPv4", false)],
            Families::V6 => &[("IPv6", true)],
            Families::Both => &[("IPv4", false), ("IPv6", true)],
        }
    }

    /// Packets of a family as they may come.
    pub(crate) fn traffic(&self, corpus: &Corpus, ipv6: bool) -> Vec<Probe> {
        corpus.traffic(ipv6, self.packets, &mut Chance::new(SEED))
    }
}
