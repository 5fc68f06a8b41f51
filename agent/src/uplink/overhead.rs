//! What a write costs on the uplink beside its own bytes. Over QUIC the library counts datagrams, and only the IP and
//! UDP headers are added; over TCP nobody tells, so it is estimated here.
//!
//! The estimate for TCP: each write is cut into TLS records of 16 KiB, each with 22 bytes around it (RFC 8446, 5.2: header
//! of 5, content type of 1, tag of 16), and the result into segments of 1448 bytes, each with 20 bytes of IPv4 (40 of
//! IPv6) and 32 of TCP with timestamps (RFC 793, RFC 7323). Two small writes that share a segment are counted apart, and
//! what TCP sends again is not seen: on a link that loses 5 % of its packets the count is about 5 % low.

use std::time::Duration;

/// How a link reaches the gateway, as far as headers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Whether over IPv6.
    pub v6: bool,
    /// Whether the bytes of a stream go through TLS.
    pub tls: bool,
}

/// The MTU of Ethernet less IPv4 and TCP with timestamps.
const SEGMENT_BYTES: u64 = 1448;
const TCP_HEADER_BYTES: u64 = 32;
const UDP_HEADER_BYTES: u64 = 8;
const TLS_RECORD_BYTES: u64 = 16 * 1024;
const TLS_OVERHEAD_BYTES: u64 = 22;

/// What a client says to open TLS 1.3: its hello (key share, SNI, ALPN), then its Finished.
const TLS_OPENING_BYTES: u64 = 600;

/// An Initial is padded to this (RFC 9000, 14.1).
const QUIC_INITIAL_BYTES: u64 = 1200;

impl Path {
    fn ip_header(self) -> u64 {
        if self.v6 { 40 } else { 20 }
    }

    /// Returns what datagrams cost that QUIC counted.
    pub fn of_datagrams(self, datagrams: u64, bytes: u64) -> u64 {
        bytes + datagrams * (self.ip_header() + UDP_HEADER_BYTES)
    }

    /// Returns what one write to a TCP connection costs.
    pub fn of_write(self, bytes: u64) -> u64 {
        let records = if self.tls { bytes.div_ceil(TLS_RECORD_BYTES) * TLS_OVERHEAD_BYTES } else { 0 };
        let on_stream = bytes + records;
        on_stream + on_stream.div_ceil(SEGMENT_BYTES) * self.of_segment()
    }

    /// Returns what one TCP segment without data costs: the acknowledgement of what came down.
    pub fn of_segment(self) -> u64 {
        self.ip_header() + TCP_HEADER_BYTES
    }

    /// Returns what opening a TCP connection costs: SYN and ACK, and the client's side of TLS.
    pub fn of_tcp_opening(self) -> u64 {
        let tls = if self.tls { self.of_write(TLS_OPENING_BYTES) } else { 0 };
        2 * self.of_segment() + tls
    }

    /// Returns what a QUIC handshake that got no answer cost: an Initial at once, and two more after each probe timeout
    /// of 1 s, doubled each time (RFC 9002, 6.2 with its initial round trip of 333 ms).
    pub fn of_unanswered_quic(self, waited: Duration) -> u64 {
        let probes = (0..16_u32).take_while(|probe| Duration::from_secs((2 << probe) - 1) <= waited).count();
        self.of_datagrams(1, QUIC_INITIAL_BYTES) * (1 + 2 * probes as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Path = Path { v6: false, tls: false };

    #[test]
    fn datagrams_cost_28_or_48_bytes_each() {
        assert_eq!(V4.of_datagrams(10, 12_000), 12_280);
        assert_eq!(Path { v6: true, tls: false }.of_datagrams(10, 12_000), 12_480);
    }

    #[test]
    fn a_write_costs_its_records_and_segments() {
        assert_eq!(V4.of_write(1), 53);
        assert_eq!(V4.of_write(1448), 1500);
        assert_eq!(V4.of_write(1449), 1449 + 104);
        assert_eq!(Path { v6: true, tls: true }.of_write(20_000), 20_044 + 14 * 72);
    }

    #[test]
    fn an_unanswered_handshake_costs_what_its_probes_do() {
        let costs = [0, 1, 2, 3, 9].map(|seconds| V4.of_unanswered_quic(Duration::from_secs(seconds)) / 1228);
        assert_eq!(costs, [1, 3, 3, 5, 7]);
    }
}
