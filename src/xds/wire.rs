//! Responses as bytes: shared entries, and a rest of a few bytes for each stream.
//!
//! Owns the codec. Must not know subscriptions. Cost: one copy of the entries into the stream's
//! buffer; no message is encoded for a stream but the rest (xds.md 3.12, L1).

use std::{fmt, marker::PhantomData, sync::Arc};

use bytes::{BufMut, Bytes};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use prost::Message;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::snapshot::{Kind, Resource, Version};

/// One response. Protobuf accepts fields in any order, so what differs between streams stands
/// after what they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    entries: Vec<Bytes>,
    rest: Bytes,
}

impl Frame {
    /// A `DiscoveryResponse`.
    pub(crate) fn sotw(
        kind: Kind,
        nonce: u64,
        version: Version,
        resources: &[Arc<Resource>],
    ) -> Frame {
        let rest = DiscoveryResponse {
            version_info: version.to_string(),
            type_url: kind.type_url().into(),
            nonce: nonce.to_string(),
            ..Default::default()
        };
        let entries = resources.iter().map(|resource| resource.sotw_entry()).collect();
        Frame { entries, rest: rest.encode_to_vec().into() }
    }

    /// A `DeltaDiscoveryResponse`.
    pub(crate) fn delta(
        kind: Kind,
        nonce: u64,
        resources: &[Arc<Resource>],
        removed: &[Arc<str>],
    ) -> Frame {
        let rest = DeltaDiscoveryResponse {
            type_url: kind.type_url().into(),
            nonce: nonce.to_string(),
            removed_resources: removed.iter().map(|name| name.to_string()).collect(),
            ..Default::default()
        };
        let entries = resources.iter().map(|resource| resource.delta_entry()).collect();
        Frame { entries, rest: rest.encode_to_vec().into() }
    }

    /// Bytes of the encoded message.
    pub fn encoded_len(&self) -> usize {
        self.rest.len() + self.entries.iter().map(Bytes::len).sum::<usize>()
    }

    pub(crate) fn copy_to(&self, buf: &mut impl BufMut) {
        for entry in &self.entries {
            buf.put_slice(entry);
        }
        buf.put_slice(&self.rest);
    }
}

/// The codec of `StreamAggregatedResources`.
pub type SotwCodec = AdsCodec<DiscoveryRequest>;

/// The codec of `DeltaAggregatedResources`.
pub type DeltaCodec = AdsCodec<DeltaDiscoveryRequest>;

/// Decodes requests of type `M`; copies frames.
pub struct AdsCodec<M>(PhantomData<fn() -> M>);

impl<M> Default for AdsCodec<M> {
    fn default() -> Self {
        AdsCodec(PhantomData)
    }
}

impl<M> fmt::Debug for AdsCodec<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdsCodec")
    }
}

impl<M: Message + Default + 'static> Codec for AdsCodec<M> {
    type Encode = Frame;
    type Decode = M;
    type Encoder = AdsCodec<M>;
    type Decoder = AdsCodec<M>;

    fn encoder(&mut self) -> AdsCodec<M> {
        AdsCodec::default()
    }

    fn decoder(&mut self) -> AdsCodec<M> {
        AdsCodec::default()
    }
}

impl<M> Encoder for AdsCodec<M> {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(frame.encoded_len());
        frame.copy_to(buf);
        Ok(())
    }
}

impl<M: Message + Default> Decoder for AdsCodec<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        let refuse = |error| Status::invalid_argument(format!("decode a request: {error}"));
        M::decode(buf).map(Some).map_err(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources() -> Vec<Arc<Resource>> {
        let resource = |name: &str| {
            Arc::new(Resource::new(Kind::Endpoint, name.into(), name.as_bytes(), vec![]))
        };
        vec![resource("a"), resource("b")]
    }

    fn bytes(frame: &Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.copy_to(&mut bytes);
        assert_eq!(bytes.len(), frame.encoded_len());
        bytes
    }

    #[test]
    fn a_delta_frame_is_a_delta_discovery_response() {
        let frame = Frame::delta(Kind::Endpoint, 7, &resources(), &["gone".into()]);
        let response = DeltaDiscoveryResponse::decode(&*bytes(&frame)).unwrap();
        let names: Vec<_> = response.resources.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(response.type_url, Kind::Endpoint.type_url());
        assert_eq!(response.nonce, "7");
        assert_eq!(response.removed_resources, ["gone"]);
    }

    #[test]
    fn a_sotw_frame_is_a_discovery_response() {
        let version = Version::of(b"all");
        let frame = Frame::sotw(Kind::Endpoint, 7, version, &resources());
        let response = DiscoveryResponse::decode(&*bytes(&frame)).unwrap();
        let messages: Vec<_> = response.resources.iter().map(|any| &*any.value).collect();
        assert_eq!(messages, [b"a", b"b"]);
        assert_eq!(response.version_info, version.to_string());
        assert_eq!(response.type_url, Kind::Endpoint.type_url());
        assert_eq!(response.nonce, "7");
    }
}
