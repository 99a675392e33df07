//! The harness of the tests that need root: network namespaces, packet builders, real peers.
