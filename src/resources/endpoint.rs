//! EDS: an assignment as priorities of localities (xds.md 3.7, semantics.md 5.3–5.5).
//!
//! Owns the shape of a `ClusterLoadAssignment`. Must not know why an endpoint is where it is.
//! Cost: linear in the endpoints of one target.

use std::{num::NonZeroU16, sync::Arc};

use envoy_types::pb::envoy::config::{core::v3 as core, endpoint::v3 as pb};
use prost::Message;

use crate::{
    model::{Arrangement, Assignment, LocalityShare, Target, WeightedAddress, name},
    resources::pack,
    snapshot::{Kind, Resource},
};

/// The assignments of a target's clusters.
pub fn build(target: &Target, arrangement: &Arrangement) -> Vec<Resource> {
    let Arrangement { groups, members } = arrangement;
    let check_port = target.health_check.as_ref().and_then(|check| check.port);
    let name = name::target(target);
    let members = members.iter().map(|own| (name::members(&name), own));
    let all = [(name.clone(), groups)].into_iter().chain(members);
    all.map(|(name, assignment)| one(&name, assignment, check_port)).collect()
}

/// Without endpoints it is an empty message, never absent: Envoy ignores the removal of an
/// assignment and would keep dead endpoints (xds.md 3.8).
fn one(name: &Arc<str>, assignment: &Assignment, check_port: Option<NonZeroU16>) -> Resource {
    let levels = (0..).zip(&assignment.priorities);
    let message = pb::ClusterLoadAssignment {
        cluster_name: name.to_string(),
        endpoints: levels.flat_map(|(at, shares)| level(at, shares, check_port)).collect(),
        policy: Some(pb::cluster_load_assignment::Policy {
            overprovisioning_factor: pack::uint(assignment.overprovisioning),
            ..Default::default()
        }),
        ..Default::default()
    };
    Resource::new(Kind::Endpoint, name.clone(), &message.encode_to_vec(), Vec::new())
}

/// One priority. A level without endpoints is sent as a locality without endpoints, because
/// priorities must be contiguous and are never renumbered.
fn level(
    priority: u32,
    shares: &[LocalityShare],
    check_port: Option<NonZeroU16>,
) -> Vec<pb::LocalityLbEndpoints> {
    // xds: a locality of weight 0 gets nothing; such a share is left out.
    let served = shares.iter().filter(|share| share.weight > 0);
    let localities: Vec<_> = served.map(|share| locality(priority, share, check_port)).collect();
    if localities.is_empty() {
        return vec![pb::LocalityLbEndpoints { priority, ..Default::default() }];
    }
    localities
}

fn locality(
    priority: u32,
    share: &LocalityShare,
    check_port: Option<NonZeroU16>,
) -> pb::LocalityLbEndpoints {
    pb::LocalityLbEndpoints {
        locality: Some(core::Locality {
            region: share.region.clone(),
            zone: share.zone.clone(),
            sub_zone: share.member.to_string(),
        }),
        lb_endpoints: share.endpoints.iter().map(|own| endpoint(own, check_port)).collect(),
        load_balancing_weight: pack::uint(share.weight),
        priority,
        ..Default::default()
    }
}

fn endpoint(own: &WeightedAddress, check_port: Option<NonZeroU16>) -> pb::LbEndpoint {
    let check = |port: NonZeroU16| pb::endpoint::HealthCheckConfig {
        port_value: port.get().into(),
        ..Default::default()
    };
    let endpoint = pb::Endpoint {
        address: Some(pack::socket_address(own.address.ip(), own.address.port())),
        health_check_config: check_port.map(check),
        ..Default::default()
    };
    pb::LbEndpoint {
        host_identifier: Some(pb::lb_endpoint::HostIdentifier::Endpoint(endpoint)),
        // xds: absent means 1.
        load_balancing_weight: Some(own.weight.get())
            .filter(|weight| *weight > 1)
            .and_then(pack::uint),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::MemberId;

    fn share(member: &str, endpoints: &[&str]) -> LocalityShare {
        LocalityShare {
            member: MemberId::new(member).unwrap(),
            region: String::new(),
            zone: String::new(),
            weight: endpoints.len().try_into().unwrap(),
            endpoints: endpoints
                .iter()
                .map(|at| WeightedAddress::equal(at.parse().unwrap()))
                .collect(),
        }
    }

    /// `priority member×endpoints*weight` of every locality; `-` for an empty level.
    fn built(priorities: Vec<Vec<LocalityShare>>) -> Vec<String> {
        let resource = one(&"a".into(), &Assignment { priorities, overprovisioning: 100 }, None);
        let message = pb::ClusterLoadAssignment::decode(resource.message()).unwrap();
        let text = |locality: pb::LocalityLbEndpoints| {
            let member = locality.locality.map_or("-".into(), |at| at.sub_zone);
            let weight = locality.load_balancing_weight.map_or(0, |weight| weight.value);
            format!("{} {member}×{}*{weight}", locality.priority, locality.lb_endpoints.len())
        };
        message.endpoints.into_iter().map(text).collect()
    }

    #[test]
    fn levels_are_never_renumbered() {
        let (c1, c2) =
            (share("c1", &["10.0.0.1:80", "10.0.0.2:80"]), share("c2", &["10.0.0.3:80"]));
        assert_eq!(built(vec![]), [""; 0]);
        assert_eq!(
            built(vec![vec![], vec![c1.clone(), c2.clone()]]),
            ["0 -×0*0", "1 c1×2*2", "1 c2×1*1"]
        );
        assert_eq!(built(vec![vec![share("c1", &[])], vec![c2.clone()]]), ["0 -×0*0", "1 c2×1*1"]);
        assert_eq!(built(vec![vec![share("c1", &[]), c2]]), ["0 c2×1*1"]);
    }
}
