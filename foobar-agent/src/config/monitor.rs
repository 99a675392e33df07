//! `[monitor]` and `[[monitor.service]]`.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::addresses::read_listen;
use super::model::{Monitor, Service, ServiceProtocol};
use super::names::Names;
use super::reader::{Table, Value};

/// `/metrics` without `[monitor]`: for this host alone.
const DEFAULT_LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9977);
/// Protocols that a later version counts.
const LATER_PROTOCOLS: [&str; 6] = ["mysql", "dns", "tls", "postgresql", "redis", "h2c"];

/// `listeners` are the balancer's addresses, with their lines.
pub(super) fn read(root: &mut Table<'_>, listeners: &mut HashMap<SocketAddr, u32>) -> Monitor {
    let Some(mut monitor) = root.table("monitor", "[monitor]") else {
        return Monitor { listen: vec![DEFAULT_LISTEN.into()], services: Vec::new() };
    };
    let listen = match monitor.optional("listen") {
        None => vec![DEFAULT_LISTEN.into()],
        // No listener is a decision that a host may take; the control socket remains.
        Some(value) if value.is_empty_list() => Vec::new(),
        value => read_listen(value, listeners),
    };
    let (mut names, mut ports) = (Names::new("service"), BTreeMap::new());
    let tables = monitor.tables("service", "[[monitor.service]]");
    let services = tables.into_iter().filter_map(|table| service(table, &mut names, &mut ports)).collect();
    monitor.finish();
    Monitor { listen, services }
}

fn service(mut table: Table<'_>, names: &mut Names, ports: &mut BTreeMap<u16, u32>) -> Option<Service> {
    let name = table.required("name", "name = \"nginx\"").and_then(|value| names.take(value));
    let port = table.required("port", "port = 80").and_then(|value| {
        let port = value.integer(1, u16::MAX)?;
        if let Some(line) = ports.insert(port, value.line()) {
            let message = format!("port {port} is a service already, on line {line}");
            value.error(message, "a port is counted once: remove one of the two");
        }
        Some(port)
    });
    let protocol = table.required("protocol", "protocol = \"http\"").and_then(protocol);
    table.finish();
    Some(Service { name: name?, port: port?, protocol: protocol? })
}

fn protocol(value: Value<'_>) -> Option<ServiceProtocol> {
    if let Some(later) = LATER_PROTOCOLS.iter().find(|later| value.as_str() == Some(**later)) {
        let message = format!("`{later}` is counted by a later version, this one counts `http`");
        value.error(message, "remove the service");
        return None;
    }
    value.word(&[("http", ServiceProtocol::Http)])
}
