//! What a ruleset is compiled to, and what the kernel judges by. Plain data.

use foobar_ebpf::abi::ServicePort;
use foobar_ebpf::abi::image::{Header, Unit};
use serde::{Deserialize, Serialize};

/// A compiled ruleset, and the services beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Sum of `foobar_ebpf::abi::setting` flags.
    pub flags: u32,
    /// The image, see `foobar_ebpf::abi::image`; empty where nothing is judged.
    #[serde(with = "image_bytes")]
    pub image: Vec<Unit>,
    /// Rule names by slot; the last one is the policy.
    pub rules: Vec<String>,
    /// Services by slot.
    #[serde(with = "service_words")]
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

/// An image as one string of bytes: of tens of megabytes, no unit is looked at.
mod image_bytes {
    use std::fmt;

    use foobar_ebpf::abi::image::{UNIT_BYTES, Unit};
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(image: &[Unit], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(Unit::bytes(image))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Unit>, D::Error> {
        deserializer.deserialize_bytes(Units)
    }

    struct Units;

    impl Visitor<'_> for Units {
        type Value = Vec<Unit>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "bytes of whole units")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<Unit>, E> {
            let (units, rest) = bytes.as_chunks::<UNIT_BYTES>();
            if !rest.is_empty() {
                return Err(E::invalid_length(bytes.len(), &self));
            }
            Ok(units.iter().map(|unit| Unit::of_bytes(*unit)).collect())
        }
    }
}

/// Services with their ports as the words of the ABI.
mod service_words {
    use foobar_ebpf::abi::ServicePort;
    use serde::{Deserialize, Deserializer, Serializer};

    type Services = Vec<(String, ServicePort)>;

    pub(super) fn serialize<S: Serializer>(
        services: &[(String, ServicePort)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(services.iter().map(|(name, port)| (name, port.to_word())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Services, D::Error> {
        let words = Vec::<(String, u32)>::deserialize(deserializer)?;
        Ok(words.into_iter().map(|(name, word)| (name, ServicePort::from_word(word))).collect())
    }
}

#[cfg(test)]
mod tests {
    use foobar_ebpf::abi::image::UNIT_BYTES;

    use super::*;

    #[test]
    fn a_generation_crosses_a_socket_as_it_is() {
        let unit = |byte| Unit::of_bytes([byte; UNIT_BYTES]);
        let generation = Generation {
            flags: 7,
            image: vec![unit(1), unit(0xff)],
            rules: vec!["web".to_owned(), "policy".to_owned()],
            services: vec![("nginx".to_owned(), ServicePort { port: 80, protocol: 1 })],
            limits: vec!["web".to_owned()],
            meters: 2,
            sources: true,
        };
        let bytes = postcard::to_stdvec(&generation).unwrap();
        assert_eq!(postcard::from_bytes::<Generation>(&bytes).unwrap(), generation);
        assert!(postcard::from_bytes::<Generation>(&bytes[..bytes.len() - 1]).is_err());
    }
}
