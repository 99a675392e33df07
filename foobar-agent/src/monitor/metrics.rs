//! Every metric family that the agent exports: names, labels, meaning. Makes no sample; see
//! `collector`.
//!
//! Base units, counters instead of rates, and labels whose values the configuration or the
//! program closes, never the network.

use super::family::Family;

pub(super) const BUILD_INFO: Family =
    Family::gauge("foobar_build_info", &["version", "architecture"], "Always 1; labels tell what was built");
pub(super) const XDP_PACKETS: Family = Family::counter(
    "foobar_xdp_packets_total",
    &["interface", "verdict"],
    "Packets that arrived at the datapath, by verdict",
);
pub(super) const XDP_BYTES: Family = Family::counter(
    "foobar_xdp_bytes_total",
    &["interface", "verdict"],
    "Bytes that arrived at the datapath, link-layer header included, by verdict",
);
pub(super) const XDP_ATTACHED: Family = Family::gauge(
    "foobar_xdp_attached",
    &["interface", "mode"],
    "Whether the datapath is attached to the interface in this mode",
);
pub(super) const RULE_PACKETS: Family = Family::counter(
    "foobar_firewall_rule_packets_total",
    &["rule"],
    "Packets that the rule decided; rule=\"policy\" is the default verdict",
);
pub(super) const RULE_BYTES: Family = Family::counter(
    "foobar_firewall_rule_bytes_total",
    &["rule"],
    "Bytes of the packets that the rule decided; rule=\"policy\" is the default verdict",
);
pub(super) const RULE_OVER: Family = Family::counter(
    "foobar_firewall_rule_over_rate_packets_total",
    &["rule"],
    "Packets that the rule did not match because they were over its rate",
);
pub(super) const SAMPLES: Family = Family::counter(
    "foobar_firewall_samples_total",
    &["outcome"],
    "Samples of packets for logs of rules and for those who watch, by what became of them",
);
pub(super) const DROPS: Family = Family::counter(
    "foobar_firewall_drops_total",
    &["reason"],
    "Packets that did not pass, dropped and rejected ones, by reason, on all interfaces",
);
pub(super) const REJECT_ANSWERS: Family = Family::counter(
    "foobar_firewall_reject_answers_total",
    &["kind"],
    "Answers sent to the senders of rejected packets",
);
pub(super) const REJECT_WITHHELD: Family = Family::counter(
    "foobar_firewall_reject_withheld_total",
    &["reason"],
    "Rejected packets that got no answer, by reason",
);
pub(super) const GENERATION: Family = Family::gauge(
    "foobar_firewall_generation",
    &[],
    "Number of the ruleset image that judges packets; 0 before the first",
);
pub(super) const IMAGE_BYTES: Family =
    Family::gauge("foobar_firewall_image_bytes", &[], "Memory that the rules take in the kernel");
pub(super) const SERVICE_MESSAGES: Family = Family::counter(
    "foobar_service_messages_total",
    &["service", "protocol"],
    "Application messages (requests, queries) that the kernel saw arrive for the service",
);
pub(super) const RELOAD_SUCCESSFUL: Family = Family::gauge(
    "foobar_config_last_reload_successful",
    &[],
    "Whether the configuration was taken when it was last read",
);
pub(super) const RELOAD_TIMESTAMP: Family = Family::gauge(
    "foobar_config_last_reload_timestamp_seconds",
    &[],
    "When the configuration was last read, taken or not, in seconds since the epoch",
);
pub(super) const PROCESS_START: Family = Family::gauge(
    "foobar_process_start_time_seconds",
    &[],
    "When the agent started, in seconds since the epoch",
);
pub(super) const PROCESS_CPU: Family = Family::counter(
    "foobar_process_cpu_seconds_total",
    &[],
    "User and system time of the agent's process, without its datapath's",
);
pub(super) const PROCESS_MEMORY: Family =
    Family::gauge("foobar_process_resident_memory_bytes", &[], "Resident memory of the agent's process");
pub(super) const PROCESS_DESCRIPTORS: Family =
    Family::gauge("foobar_process_open_fds", &[], "Open file descriptors of the agent's process");
pub(super) const PROCESS_THREADS: Family =
    Family::gauge("foobar_process_threads", &[], "Threads of the agent's process");

pub(super) const CONNECTIONS: Family = Family::counter(
    "foobar_balancer_connections_total",
    &["listener"],
    "Connections that the load balancer accepted",
);
pub(super) const HANDSHAKES: Family = Family::counter(
    "foobar_tls_handshakes_total",
    &["listener", "version", "resumed"],
    "Finished TLS handshakes",
);
pub(super) const HANDSHAKE_FAILURES: Family = Family::counter(
    "foobar_tls_handshake_failures_total",
    &["listener", "reason"],
    "TLS handshakes that did not finish, by reason",
);
pub(super) const REQUESTS: Family = Family::counter(
    "foobar_http_requests_total",
    &["site", "backend", "code"],
    "Requests that the load balancer answered, by the backend that did; backend=\"none\" is the balancer itself",
);
pub(super) const REQUEST_DURATION: Family = Family::histogram(
    "foobar_http_request_duration_seconds",
    &["site"],
    "From the request's head to the end of its response",
);
pub(super) const BACKEND_UP: Family =
    Family::gauge("foobar_backend_up", &["pool", "backend"], "Whether the backend takes traffic");
pub(super) const BACKEND_REQUESTS: Family = Family::counter(
    "foobar_backend_requests_total",
    &["pool", "backend"],
    "Requests sent to the backend, those tried again elsewhere included",
);
pub(super) const BACKEND_CONNECTIONS: Family = Family::counter(
    "foobar_backend_connections_total",
    &["pool", "backend"],
    "Connections opened to the backend for requests",
);
pub(super) const BACKEND_FAILURES: Family = Family::counter(
    "foobar_backend_failures_total",
    &["pool", "backend", "reason"],
    "Attempts that the backend failed: no connection, connection lost under way, no answer in time",
);
pub(super) const BACKEND_RETRIES: Family = Family::counter(
    "foobar_backend_retries_total",
    &["pool", "backend"],
    "Requests tried again elsewhere after this backend failed them",
);
pub(super) const BACKEND_CHECK_FAILURES: Family = Family::counter(
    "foobar_backend_check_failures_total",
    &["pool", "backend"],
    "Health checks that the backend failed",
);
pub(super) const CERTIFICATE_NOT_AFTER: Family = Family::gauge(
    "foobar_certificate_not_after_timestamp_seconds",
    &["name"],
    "When the loaded certificate ends to be valid, in seconds since the epoch",
);

/// Every family, for registration and for the tests that hold them to their word.
pub const FAMILIES: &[&Family] = &[
    &BUILD_INFO,
    &XDP_PACKETS,
    &XDP_BYTES,
    &XDP_ATTACHED,
    &RULE_PACKETS,
    &RULE_BYTES,
    &RULE_OVER,
    &SAMPLES,
    &DROPS,
    &REJECT_ANSWERS,
    &REJECT_WITHHELD,
    &GENERATION,
    &IMAGE_BYTES,
    &SERVICE_MESSAGES,
    &CONNECTIONS,
    &HANDSHAKES,
    &HANDSHAKE_FAILURES,
    &REQUESTS,
    &REQUEST_DURATION,
    &BACKEND_UP,
    &BACKEND_REQUESTS,
    &BACKEND_CONNECTIONS,
    &BACKEND_FAILURES,
    &BACKEND_RETRIES,
    &BACKEND_CHECK_FAILURES,
    &CERTIFICATE_NOT_AFTER,
    &RELOAD_SUCCESSFUL,
    &RELOAD_TIMESTAMP,
    &PROCESS_START,
    &PROCESS_CPU,
    &PROCESS_MEMORY,
    &PROCESS_DESCRIPTORS,
    &PROCESS_THREADS,
];
