//! Lists of addresses against the sentence that defines them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// An entry of `from`, in one of two small corners, so that entries overlap.
#[derive(Clone, Debug)]
struct Entry {
    negative: bool,
    network: IpAddr,
    length: u8,
}

impl Entry {
    fn text(&self) -> String {
        format!("'{}{}/{}'", if self.negative { "!" } else { "" }, self.network, self.length)
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let bits = u32::from(network) ^ u32::from(address);
                bits.checked_shr(32 - u32::from(self.length)).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let bits = u128::from(network) ^ u128::from(address);
                bits.checked_shr(128 - u32::from(self.length)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn address(ipv4: bool, bits: u8) -> IpAddr {
    if ipv4 {
        Ipv4Addr::new(192, 0, 2, bits).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, bits.into()).into()
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    // Host bits 8 is the whole corner, 128 (for all) the whole family.
    let host_bits = prop_oneof![8 => 0u8..=8, 1 => Just(128)];
    (any::<bool>(), any::<bool>(), any::<u8>(), host_bits).prop_map(|(negative, ipv4, bits, host_bits)| {
        if host_bits == 128 {
            let network = if ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            return Entry { negative, network, length: 0 };
        }
        let network = address(ipv4, bits & u8::MAX.checked_shl(host_bits.into()).unwrap_or(0));
        Entry { negative, network, length: if ipv4 { 32 } else { 128 } - host_bits }
    })
}

proptest! {
    #[test]
    fn a_list_means_what_its_definition_says(entries in prop::collection::vec(entry(), 1..6)) {
        let list: Vec<String> = entries.iter().map(Entry::text).collect();
        let text = format!(
            "[firewall]\ndefault = 'allow'\n[[firewall.rules]]\nname = 'r'\naction = 'drop'\nfrom = [{}]\n",
            list.join(", ")
        );
        let loaded = read_text(&text).unwrap();
        let from = loaded.config.firewall.ruleset.unwrap().rules[0].from.clone().unwrap();
        for (ipv4, bits) in [true, false].into_iter().flat_map(|ipv4| (0..=255).map(move |bits| (ipv4, bits))) {
            let address = address(ipv4, bits);
            let of = |negative| entries.iter().filter(move |entry| entry.negative == negative);
            let positive = of(false).next().is_none() || of(false).any(|entry| entry.contains(address));
            let expected = positive && !of(true).any(|entry| entry.contains(address));
            prop_assert_eq!(from.contains(address), expected, "{} in {:?}", address, list);
        }
    }
}
