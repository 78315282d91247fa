//! What status should say, from what is known (semantics.md 1.2 and 6).
//!
//! Owns phases, `remoteClusters`, conditions and addresses. Must not know clocks, requests or
//! what was written before. Cost: linear in the members of one gateway.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    admin::{Report, Trouble},
    api::{AlbCertificateStatus, AlbListenerStatus},
    gateway::{Address, Attachment, Declared},
    key::{GatewayId, MemberId, ObjectKind, Scope},
    model::{Certificates, ListenerKey, Port, Transport},
    status::{Provision, Provisions},
};

/// A message is for people; what they need is at its beginning.
const MAX_MESSAGE: usize = 1024;

/// Everything that the status of a gateway depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) report: &'a Report,
    /// Gateways of which some Envoy has acknowledged its first listeners and clusters, here or at
    /// another replica.
    pub(super) acknowledged: &'a BTreeSet<GatewayId>,
    /// Gateways that have waited too long for that.
    pub(super) overdue: &'a BTreeSet<GatewayId>,
    /// Gateways that were Listening: one that reads something again goes on being so, because
    /// what was read before is still served.
    pub(super) listening: &'a BTreeSet<GatewayId>,
    /// Where clients reach every gateway that has no annotation about it, nor an address of its own.
    pub(super) addresses: &'a [Address],
    /// Managed Envoys.
    pub(super) provisions: &'a Provisions,
}

/// `status` of a gateway object. What only one kind has is empty in the other, and left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GatewayStatus {
    pub(super) phase: Phase,
    /// Why the phase is no better.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
    pub(super) observed_generation: i64,
    /// As Envoys and `convoy status` name the gateway; an `AlbConfig` says it in `load_balancer`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) gateway_id: String,
    /// In the order of the annotation.
    pub(super) remote_clusters: Vec<RemoteCluster>,
    pub(super) conditions: Vec<Condition>,
    pub(super) load_balancer: Entrance,
}

/// `status.loadBalancer` of a gateway: its addresses, and what else an `AlbConfig` says there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Entrance {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ingress: Vec<Point>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) dnsname: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) listeners: Vec<AlbListenerStatus>,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Phase {
    /// No Envoy has acknowledged its configuration.
    #[default]
    Pending,
    /// One has, but the gateway listens to nothing, or not everything has been read.
    Running,
    /// Serving Ingresses.
    Listening,
    /// The object is invalid, or nobody serves it.
    Failed,
}

/// An entry of `status.remoteClusters`. A healthy one has nothing but its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RemoteCluster {
    pub(super) cluster_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// A condition of `metav1`, without the time of its last transition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Condition {
    pub(super) r#type: String,
    /// `True` or `False`.
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) observed_generation: i64,
}

impl Condition {
    /// Of an object of this generation.
    pub(super) fn new(
        kind: &str,
        is_true: bool,
        reason: &str,
        message: String,
        generation: i64,
    ) -> Condition {
        Condition {
            r#type: kind.to_owned(),
            status: if is_true { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message: cut(message),
            observed_generation: generation,
        }
    }
}

/// `status.loadBalancer` of an Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LoadBalancer {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ingress: Vec<Point>,
}

/// One way in: exactly one of the two is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Point {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostname: Option<String>,
}

impl From<&Address> for Point {
    fn from(address: &Address) -> Point {
        match address {
            Address::Ip(ip) => Point { ip: Some(ip.to_string()), hostname: None },
            Address::Hostname(name) => Point { ip: None, hostname: Some(name.to_string()) },
        }
    }
}

/// The statuses of all gateways.
pub(super) fn gateways(facts: &Facts<'_>) -> BTreeMap<GatewayId, Arc<GatewayStatus>> {
    let declared = facts.report.declared.iter();
    declared.map(|(id, own)| (id.clone(), Arc::new(gateway(id, own, facts)))).collect()
}

/// What an Ingress says: the ways into all gateways that serve it.
pub(super) fn load_balancer(
    attachment: &Attachment,
    gateways: &BTreeMap<GatewayId, Arc<GatewayStatus>>,
) -> LoadBalancer {
    let statuses = attachment.gateways.iter().filter_map(|id| gateways.get(id));
    let points: BTreeSet<_> = statuses.flat_map(|own| &own.load_balancer.ingress).collect();
    LoadBalancer { ingress: points.into_iter().cloned().collect() }
}

fn gateway(id: &GatewayId, own: &Declared, facts: &Facts<'_>) -> GatewayStatus {
    let has_envoy = facts.acknowledged.contains(id);
    let unread = unread(own, facts.report);
    let (phase, message) = phase(id, own, facts, &unread);
    let provision = facts.provisions.get(id);
    let of_service = provision.map_or(&[][..], |known| &known.addresses);
    let ways = [&own.addresses[..], of_service, facts.addresses];
    let addresses = ways.into_iter().find(|own| !own.is_empty()).unwrap_or_default();
    // An object that became invalid is still served as it last was (semantics.md 9, row 14).
    let points = if has_envoy { addresses } else { &[] };
    let failures: Vec<_> =
        own.members.iter().map(|member| (member, failure(member, facts.report))).collect();
    let mut conditions =
        conditions(own, has_envoy, &unsynced(own, unread, facts.report), &failures);
    conditions.extend(provision.map(|known| known.condition(own.generation)));
    let ways_in =
        Entrance { ingress: points.iter().map(Point::from).collect(), ..Entrance::default() };
    let is_alb = id.kind == ObjectKind::AlbConfig;
    GatewayStatus {
        phase,
        message: cut(message),
        observed_generation: own.generation,
        gateway_id: if is_alb { String::new() } else { id.to_string() },
        conditions,
        remote_clusters: failures.into_iter().map(remote_cluster).collect(),
        load_balancer: if is_alb { alb(id, own, ways_in, facts.report) } else { ways_in },
    }
}

/// What the vendor's columns show (semantics.md 2.2).
fn alb(id: &GatewayId, own: &Declared, ways_in: Entrance, report: &Report) -> Entrance {
    let none = Arc::default();
    let certificates = report.certificates.get(id).unwrap_or(&none);
    let ports = own.instance.iter().flat_map(|instance| &instance.ports);
    let mut ports: Vec<_> = ports.collect();
    ports.sort_by_key(|(_, port)| port.public);
    let dnsname =
        ways_in.ingress.first().and_then(|first| first.ip.as_ref().or(first.hostname.as_ref()));
    Entrance {
        id: id.to_string(),
        dnsname: dnsname.cloned().unwrap_or_default(),
        listeners: ports.into_iter().map(|own| alb_listener(own, certificates)).collect(),
        ..ways_in
    }
}

fn alb_listener(
    (key, port): (&ListenerKey, &Port),
    certificates: &Certificates,
) -> AlbListenerStatus {
    let protocol = match key.transport {
        Transport::Plaintext => "HTTP",
        Transport::Tls => "HTTPS",
    };
    let secrets = certificates.get(key).into_iter().flatten();
    let certificate =
        |secret: &Arc<str>| AlbCertificateStatus { certificate_id: Some(secret.to_string()) };
    AlbListenerStatus {
        port_and_protocol: Some(format!("{}/{protocol}", port.public)),
        certificates: secrets.map(certificate).collect(),
    }
}

/// What the gateway still waits for. A member that is given up is not waited for (5.6).
fn unread(own: &Declared, report: &Report) -> Vec<String> {
    let is_awaited = |scope: &Scope| match scope {
        Scope::Fleet => true,
        Scope::Member(id) => own.members.contains(id) && failure(id, report).is_none(),
    };
    report.unsynced.iter().filter(|scope| is_awaited(scope)).map(ToString::to_string).collect()
}

/// What is not read to the end, whether anybody waits for it or not: a member that was given up
/// once and is tried again has no failure to show, and is not read either.
fn unsynced(own: &Declared, mut unread: Vec<String>, report: &Report) -> Vec<String> {
    let is_read = |id: &MemberId| report.members.get(id).is_none_or(|known| known.synced);
    let members = own.members.iter().filter(|id| !is_read(id) && failure(id, report).is_none());
    for member in members.map(|id| Scope::Member(id.clone()).to_string()) {
        if !unread.contains(&member) {
            unread.push(member);
        }
    }
    unread
}

fn phase(id: &GatewayId, own: &Declared, facts: &Facts<'_>, unread: &[String]) -> (Phase, String) {
    if let Some(problem) = &own.problem {
        return (Phase::Failed, problem.clone());
    }
    if !facts.acknowledged.contains(id) {
        let mut message =
            "no Envoy of this gateway has acknowledged its configuration yet".to_owned();
        let trouble = facts.provisions.get(id).map(Provision::trouble).unwrap_or_default();
        if !trouble.is_empty() {
            message = format!("{message}: {trouble}");
        }
        let is_overdue = facts.overdue.contains(id);
        return (if is_overdue { Phase::Failed } else { Phase::Pending }, message);
    }
    if !unread.is_empty() && !facts.listening.contains(id) {
        return (Phase::Running, format!("waiting for {} to be read", unread.join(", ")));
    }
    if !own.listens {
        let message = match id.kind == ObjectKind::AlbConfig {
            true => "no IngressClass is bound",
            false => "spec.ingress.local.ingressClass is unset and no IngressClass is bound",
        };
        return (Phase::Running, message.to_owned());
    }
    (Phase::Listening, String::new())
}

/// Why a member contributes nothing, or only what was read of it before.
fn failure(member: &MemberId, report: &Report) -> Option<Trouble> {
    match report.members.get(member) {
        Some(known) => known.trouble().cloned(),
        None => Some(Trouble {
            reason: "ClusterNotFound",
            message: format!("no cluster `{member}` is registered"),
        }),
    }
}

fn remote_cluster((member, failure): (&MemberId, Option<Trouble>)) -> RemoteCluster {
    RemoteCluster {
        cluster_id: member.to_string(),
        status: failure.as_ref().map(|_| "Failed".to_owned()),
        message: failure.map(|trouble| cut(format!("{}: {}", trouble.reason, trouble.message))),
    }
}

fn conditions(
    own: &Declared,
    has_envoy: bool,
    unread: &[String],
    failures: &[(&MemberId, Option<Trouble>)],
) -> Vec<Condition> {
    let condition = |kind: &str, is_true, reason: &str, message| {
        Condition::new(kind, is_true, reason, message, own.generation)
    };
    let accepted = match &own.problem {
        None => condition("Accepted", true, "Accepted", String::new()),
        Some(problem) => condition("Accepted", false, "Invalid", problem.clone()),
    };
    let programmed = match has_envoy {
        true => condition("Programmed", true, "Programmed", String::new()),
        false => condition("Programmed", false, "Pending", "no Envoy has connected yet".to_owned()),
    };
    let synced = match unread {
        [] => condition("Synced", true, "Synced", String::new()),
        [_, ..] => condition("Synced", false, "Syncing", format!("reading {}", unread.join(", "))),
    };
    let mut failed = failures.iter().filter_map(|(id, own)| Some((id, own.as_ref()?))).peekable();
    let degraded = match failed.peek() {
        None if unread.is_empty() => condition("Degraded", false, "AllMembersRead", String::new()),
        None => condition("Degraded", false, "Syncing", String::new()),
        Some((_, first)) => {
            let reason = first.reason;
            let list = failed.map(|(id, own)| format!("{id}: {}: {}", own.reason, own.message));
            condition("Degraded", true, reason, list.collect::<Vec<_>>().join("; "))
        }
    };
    vec![accepted, programmed, synced, degraded]
}

/// The beginning of a text, at most `MAX_MESSAGE` bytes.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_MESSAGE));
    text
}

#[cfg(test)]
mod tests;
