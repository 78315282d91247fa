//! One encoded resource, shared by every stream and both protocol variants.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::encode_varint;
use xxhash_rust::xxh3::xxh3_64;

/// The xDS types that are served, in the order in which one flush sends them (xds.md 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SDS.
    Secret,
    /// CDS.
    Cluster,
    /// EDS.
    Endpoint,
    /// LDS.
    Listener,
    /// RDS.
    Route,
}

impl Kind {
    /// Every kind, in sending order.
    pub const ALL: [Kind; 5] =
        [Kind::Secret, Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route];

    /// The type URL of its resources.
    pub fn type_url(self) -> &'static str {
        match self {
            Kind::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Kind::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The kind of a type URL, if it is served.
    pub fn of_type_url(url: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// Whether a request may subscribe to all of it, and an answer states all of it (SotW).
    pub fn is_full_state(self) -> bool {
        match self {
            Kind::Cluster | Kind::Listener => true,
            Kind::Secret | Kind::Endpoint | Kind::Route => false,
        }
    }

    /// Short name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Secret => "sds",
            Kind::Cluster => "cds",
            Kind::Endpoint => "eds",
            Kind::Listener => "lds",
            Kind::Route => "rds",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A hash of content: the same on every replica and after every restart (xds.md 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of these bytes.
    pub fn of(bytes: &[u8]) -> Version {
        Version(xxh3_64(bytes))
    }

    /// The version that a client sent as text; `None` if it was never one of ours.
    pub fn parse(text: &str) -> Option<Version> {
        let ours = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        ours.then(|| u64::from_str_radix(text, 16).ok().map(Version)).flatten()
    }

    /// Whether text that a client sent is this version.
    pub fn is(self, text: &str) -> bool {
        Version::parse(text) == Some(self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A resource as it goes on the wire.
///
/// `entry` is field 2 of a `DeltaDiscoveryResponse`; a slice of it is field 2 of a
/// `DiscoveryResponse`, so one allocation serves both (xds.md 3.12).
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its type.
    pub kind: Kind,
    /// Its name, unique within a gateway and type.
    pub name: Arc<str>,
    /// Hash of its message.
    pub version: Version,
    /// What must reach an Envoy before a route may use this cluster: its assignment, its parts,
    /// its certificates (gate G1). Empty for other kinds.
    pub awaits: Vec<(Kind, Arc<str>)>,
    /// How long an Envoy may take after that before a route may use this cluster: the first round
    /// of its health checks, of which it says nothing.
    pub settles: Duration,
    entry: Bytes,
    any: Range<usize>,
    message: Range<usize>,
}

impl fmt::Debug for Resource {
    /// Never its bytes: those of a secret hold a private key (faults.md S6).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.kind, self.name, self.version)
    }
}

impl Resource {
    /// Wraps an encoded message.
    pub fn new(
        kind: Kind,
        name: Arc<str>,
        message: &[u8],
        awaits: Vec<(Kind, Arc<str>)>,
    ) -> Resource {
        let version = Version::of(message);
        let version_text = version.to_string();
        let url = kind.type_url();
        let any_len = field_len(url.len()) + field_len(message.len());
        let resource_len =
            field_len(version_text.len()) + field_len(any_len) + field_len(name.len());
        let mut entry = BytesMut::with_capacity(field_len(resource_len));
        put_tag(&mut entry, 2, resource_len);
        put_field(&mut entry, 1, version_text.as_bytes());
        let any_start = entry.len();
        put_tag(&mut entry, 2, any_len);
        put_field(&mut entry, 1, url.as_bytes());
        put_field(&mut entry, 2, message);
        let any = any_start..entry.len();
        let message = any.end - message.len()..any.end;
        put_field(&mut entry, 3, name.as_bytes());
        let (entry, settles) = (entry.freeze(), Duration::ZERO);
        Resource { kind, name, version, awaits, settles, entry, any, message }
    }

    /// The same, in use only so long after it was accepted.
    pub fn settling(self, settles: Duration) -> Resource {
        Resource { settles, ..self }
    }

    /// Field 2 of a `DeltaDiscoveryResponse`, tag included.
    pub fn delta_entry(&self) -> Bytes {
        self.entry.clone()
    }

    /// Field 2 of a `DiscoveryResponse`, tag included: a slice of the same allocation.
    pub fn sotw_entry(&self) -> Bytes {
        self.entry.slice(self.any.clone())
    }

    /// The encoded message alone.
    pub fn message(&self) -> Bytes {
        self.entry.slice(self.message.clone())
    }
}

fn field_len(payload: usize) -> usize {
    1 + prost::encoding::encoded_len_varint(payload as u64) + payload
}

fn put_tag(buf: &mut BytesMut, field: u8, len: usize) {
    buf.put_u8(field << 3 | 2);
    encode_varint(len as u64, buf);
}

fn put_field(buf: &mut BytesMut, field: u8, payload: &[u8]) {
    put_tag(buf, field, payload.len());
    buf.put_slice(payload);
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::{
        config::endpoint::v3::ClusterLoadAssignment,
        service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse},
    };
    use prost::Message;

    use super::*;

    fn assignment(name: &str) -> (ClusterLoadAssignment, Resource) {
        let message = ClusterLoadAssignment { cluster_name: name.into(), ..Default::default() };
        let bytes = message.encode_to_vec();
        (message, Resource::new(Kind::Endpoint, name.into(), &bytes, vec![]))
    }

    #[track_caller]
    fn check_entries(name: &str) {
        let (message, resource) = assignment(name);
        let delta = DeltaDiscoveryResponse::decode(resource.delta_entry()).unwrap();
        let [entry] = &delta.resources[..] else { panic!("one entry") };
        assert_eq!(entry.name, name);
        assert_eq!(entry.version, resource.version.to_string());
        let any = entry.resource.clone().unwrap();
        assert_eq!(any.type_url, Kind::Endpoint.type_url());
        assert_eq!(ClusterLoadAssignment::decode(&*any.value).unwrap(), message);

        let sotw = DiscoveryResponse::decode(resource.sotw_entry()).unwrap();
        assert_eq!(sotw.resources, [any]);
        assert_eq!(resource.message(), message.encode_to_vec());
    }

    #[test]
    fn both_entries_decode_to_the_message_at_every_length_of_a_length() {
        for len in [0, 1, 100, 127, 128, 200, 16_000, 16_383, 16_384, 70_000] {
            check_entries(&"n".repeat(len));
        }
    }

    #[test]
    fn the_sotw_entry_shares_the_allocation_of_the_delta_entry() {
        let (_, resource) = assignment("a");
        let (delta, sotw) = (resource.delta_entry(), resource.sotw_entry());
        assert!(delta.as_ptr_range().contains(&sotw.as_ptr()));
    }

    #[test]
    fn a_version_is_a_function_of_the_message_alone() {
        let one = Resource::new(Kind::Endpoint, "a".into(), b"same", vec![]);
        let two = Resource::new(Kind::Cluster, "b".into(), b"same", vec![]);
        assert_eq!(one.version, two.version);
        assert_ne!(one.version, Version::of(b"other"));
        // Replicas of different builds must agree: the hash may never change unnoticed.
        assert_eq!(Version::of(b"").to_string(), "2d06800538d394c2");
    }

    #[test]
    fn only_our_own_text_is_a_version() {
        let version = Version::of(b"x");
        assert_eq!(Version::parse(&version.to_string()), Some(version));
        let upper = version.to_string().to_uppercase();
        for text in ["", "1", "+000000000000001", "g000000000000000", &upper] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn type_urls_name_the_messages_of_their_kinds() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_type_url(kind.type_url()), Some(kind));
        }
        assert_eq!(Kind::of_type_url("type.googleapis.com/other"), None);
    }
}
