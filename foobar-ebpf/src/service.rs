//! Recognises application messages in a TCP payload, for ports that the configuration
//! names. Pure; counts nothing itself.

use crate::packet::reader::PacketReader;
use crate::packet::{Transport, TransportKind};

/// Whether the segment begins with the request line of an HTTP/1.x request.
///
/// A lower bound: a request that does not begin with its segment is not seen. The first
/// eight octets decide, and a shorter payload is no request (the shortest request line,
/// `GET / HTTP/1.1`, has fourteen).
#[inline(always)]
pub fn begins_http_request<R: PacketReader + ?Sized>(reader: &R, transport: &Transport) -> bool {
    if transport.kind != TransportKind::Tcp || transport.payload_bytes < 8 {
        return false;
    }
    match reader.read::<8>(usize::from(transport.payload_offset)) {
        Some(octets) => is_method(u64::from_be_bytes(octets)),
        None => false,
    }
}

/// The methods of RFC 9110 §9 and RFC 5789, each with the space behind it.
#[inline(always)]
const fn is_method(octets: u64) -> bool {
    octets >> 32 == token(b"GET ")
        || octets >> 24 == token(b"POST ")
        || octets >> 24 == token(b"HEAD ")
        || octets >> 32 == token(b"PUT ")
        || octets >> 8 == token(b"DELETE ")
        || octets >> 16 == token(b"PATCH ")
        || octets == token(b"OPTIONS ")
        || octets >> 16 == token(b"TRACE ")
        || octets == token(b"CONNECT ")
}

#[inline(always)]
const fn token<const N: usize>(octets: &[u8; N]) -> u64 {
    let mut word = 0;
    let mut index = 0;
    while index < N {
        word = word << 8 | octets[index] as u64;
        index += 1;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(payload: &[u8]) -> bool {
        let transport = Transport {
            kind: TransportKind::Tcp,
            payload_bytes: u16::try_from(payload.len()).unwrap(),
            ..Transport::OPAQUE
        };
        begins_http_request(payload, &transport)
    }

    #[test]
    fn every_method_counts_and_nothing_else() {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"] {
            assert!(begins(format!("{method} / HTTP/1.1\r\n").as_bytes()), "{method}");
        }
        for other in ["GETS / HTTP/1.1", "get / HTTP/1.1", "HTTP/1.1 200 OK", "GET /", "", "\0\0\0\0\0\0\0\0"]
        {
            assert!(!begins(other.as_bytes()), "{other:?}");
        }
    }
}
