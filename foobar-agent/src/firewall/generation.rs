//! What a ruleset is compiled to, and what the kernel judges by. Plain data.

use foobar_ebpf::abi::ServicePort;
use foobar_ebpf::abi::image::{Header, Unit};

/// A compiled ruleset, and the services beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Sum of `foobar_ebpf::abi::setting` flags.
    pub flags: u32,
    /// The image, see `foobar_ebpf::abi::image`; empty where nothing is judged.
    pub image: Vec<Unit>,
    /// Rule names by slot; the last one is the policy.
    pub rules: Vec<String>,
    /// Services by slot.
    pub services: Vec<(String, ServicePort)>,
    /// Names of the rules with a rate, by number of the rate.
    pub limits: Vec<String>,
    /// How many meters there are, of rates and of logs.
    pub meters: u32,
    /// Whether a rule has a rate for each source.
    pub sources: bool,
}

impl Generation {
    /// What the image begins with; `None` where nothing is judged.
    pub fn header(&self) -> Option<&Header> {
        self.image.first_chunk().map(Unit::as_header)
    }

    /// The image as it lies in the kernel.
    pub fn image_bytes(&self) -> &[u8] {
        Unit::bytes(&self.image)
    }

    /// Names of the services by slot.
    pub fn service_names(&self) -> Vec<String> {
        self.services.iter().map(|(name, _)| name.clone()).collect()
    }
}
