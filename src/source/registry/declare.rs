//! What is declared of a member beside its id and its credentials, in each of the forms.
//!
//! Owns which values are legal, and that what limits a member is never read as no limit. Pure.

use std::collections::BTreeMap;

use crate::{
    api::{MemberClusterSpec, MemberNetwork},
    diag::{Diag, Field, Reason},
    key::{MemberId, ObjectKind},
    source::{
        decode::{cut, is_label},
        registry::{
            ALLOWED_ENDPOINTS, ALLOWED_NAMESPACES, NETWORK, Network, REGION, Registration, ZONE,
        },
    },
    store::{Cidr, Locality, Registered},
};

/// What the `spec` at this place declares.
pub fn registered(spec: &MemberClusterSpec, at: &Field, diags: &mut Vec<Diag>) -> Registered {
    let network = match spec.network {
        None | Some(MemberNetwork::Underlay) => Network::Underlay,
        Some(MemberNetwork::Overlay) => Network::Overlay,
    };
    let place = |key: &'static str| move |idx| at.index(key, idx);
    let endpoints = spec.allowed_endpoint_cidrs.as_ref();
    let namespaces = spec.allowed_namespaces.as_ref();
    Registered {
        locality: Locality {
            region: spec.region.clone().unwrap_or_default(),
            zone: spec.zone.clone().unwrap_or_default(),
        },
        network,
        allowed_endpoints: endpoints
            .map(|own| legal(own.iter(), &place("allowedEndpointCIDRs"), cidr, diags).into()),
        allowed_namespaces: namespaces.map(|own| {
            let legal = legal(own.iter(), &place("allowedNamespaces"), namespace, diags);
            legal.into_iter().collect::<std::collections::BTreeSet<_>>().into()
        }),
        api_server: None,
        declared_by: Some(at.object.clone()),
    }
}

/// What the annotations of a Secret declare.
pub(super) fn annotated(
    annotations: &BTreeMap<String, String>,
    root: &Field,
    diags: &mut Vec<Diag>,
) -> Registered {
    let text = |key| annotations.get(key).cloned().unwrap_or_default();
    let network = match annotations.get(NETWORK).map(String::as_str) {
        None | Some("underlay") => Network::Underlay,
        Some("overlay") => Network::Overlay,
        Some(other) => {
            let message = format!("`{}` is neither underlay nor overlay; ignored", cut(other));
            diags.push(Diag::error(&root.annotation(NETWORK), Reason::InvalidAnnotation, message));
            Network::Underlay
        }
    };
    let list = |key| annotations.get(key).map(|text: &String| text.split(',').map(str::trim));
    let place = |key: &'static str| move |_| root.annotation(key);
    Registered {
        locality: Locality { region: text(REGION), zone: text(ZONE) },
        network,
        allowed_endpoints: list(ALLOWED_ENDPOINTS)
            .map(|own| legal(own, &place(ALLOWED_ENDPOINTS), cidr, diags).into()),
        allowed_namespaces: list(ALLOWED_NAMESPACES).map(|own| {
            let legal = legal(own, &place(ALLOWED_NAMESPACES), namespace, diags);
            legal.into_iter().collect::<std::collections::BTreeSet<_>>().into()
        }),
        api_server: None,
        declared_by: Some(root.object.clone()),
    }
}

/// Those of a list that are legal. One that is not allows nothing: a list of such must not allow
/// everything.
fn legal<S: AsRef<str>, T>(
    texts: impl Iterator<Item = S>,
    at: &dyn Fn(usize) -> Field,
    parse: fn(&str) -> Result<T, &'static str>,
    diags: &mut Vec<Diag>,
) -> Vec<T> {
    let mut legal = Vec::new();
    for (idx, text) in texts.enumerate() {
        let text = text.as_ref();
        match parse(text) {
            Ok(own) => legal.push(own),
            Err(what) => {
                let message = format!("`{}` is not {what}", cut(text));
                diags.push(Diag::error(&at(idx), Reason::InvalidField, message));
            }
        }
    }
    legal
}

fn cidr(text: &str) -> Result<Cidr, &'static str> {
    Cidr::parse(text).ok_or("a range of addresses")
}

fn namespace(text: &str) -> Result<std::sync::Arc<str>, &'static str> {
    if is_label(text) { Ok(text.into()) } else { Err("a namespace") }
}

/// What is wrong with members whose declared ranges overlap: said on the younger one, once for each
/// older one. Of two ranges that overlap one is within the other, so a pass in order finds them all.
pub(super) fn overlaps(members: &BTreeMap<MemberId, Registration>) -> Vec<Diag> {
    let ranges = members.values().flat_map(|own| {
        own.allowed_endpoints.iter().flat_map(|own| own.iter()).map(move |range| (*range, own))
    });
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|(range, _)| range.rank());
    let mut found = BTreeMap::new();
    let mut around: Vec<(Cidr, &Registration)> = Vec::new();
    for (range, member) in ranges {
        while around.pop_if(|(outer, _)| !outer.overlaps(&range)).is_some() {}
        for (outer, other) in around.iter().filter(|(_, other)| other.id != member.id) {
            let age = |own: &Registration| (own.created, own.declared_by.clone(), own.id.clone());
            let (younger, older) = match age(member) > age(other) {
                true => ((member, range), (*other, *outer)),
                false => ((*other, *outer), (member, range)),
            };
            let pair = (younger.0.id.clone(), older.0.id.clone());
            found.entry(pair).or_insert((younger, older));
        }
        around.push((range, member));
    }
    let finding =
        |((younger, own), (older, other)): ((&Registration, Cidr), (&Registration, Cidr))| {
            let at = Field::of(&younger.declared_by);
            let at = match younger.declared_by.kind == ObjectKind::MemberCluster {
                true => at.key("spec").key("allowedEndpointCIDRs"),
                false => at.annotation(ALLOWED_ENDPOINTS),
            };
            let message =
                format!("{own} of member {} overlaps {other} of member {}", younger.id, older.id);
            Diag::warning(&at, Reason::AddressConflict, message)
        };
    found.into_values().map(finding).collect()
}
