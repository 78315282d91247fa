//! Generated from `proto/convoy/inspect/v1`: what the inspection service says.
#![allow(missing_docs, clippy::wildcard_enum_match_arm)]

use serde::Serializer;

tonic::include_proto!("convoy.inspect.v1");

impl MemberState {
    /// As people and scripts read it.
    pub fn as_text(self) -> &'static str {
        match self {
            MemberState::Unspecified => "unknown",
            MemberState::Syncing => "syncing",
            MemberState::Live => "live",
            MemberState::Connecting => "connecting",
            MemberState::Stale => "stale",
        }
    }
}

/// Prints the number that proto enums are kept as; a newer server's state is `unknown`.
pub(crate) fn state_as_text<S: Serializer>(state: &i32, to: S) -> Result<S::Ok, S::Error> {
    let state = MemberState::try_from(*state).unwrap_or(MemberState::Unspecified);
    to.serialize_str(state.as_text())
}
