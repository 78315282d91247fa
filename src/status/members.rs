//! What the status of a `MemberCluster` should say, and what to say where a member has none.
//!
//! Owns its conditions, and how much of a difference is worth a write. Must not know requests, nor
//! any clock. Cost: linear in the members.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    admin::{MemberReport, MemberState, Report, Trouble},
    diag::{Diag, Field, Reason},
    key::{MemberId, ObjectKind, ObjectName, ObjectRef, Scope},
    settings::StatusTimings,
    source::{
        kube::Traffic,
        registry::{AccessError, Registration},
    },
    status::desired::Condition,
};

/// `status` of a `MemberCluster`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MemberStatus {
    pub(super) conditions: Vec<Condition>,
    pub(super) services: u64,
    /// Ready ones.
    pub(super) endpoints: u64,
    /// To the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_contact: Option<Time>,
    pub(super) observed_generation: i64,
}

/// A `MemberCluster`, and what its status should say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MemberRow {
    pub(super) uid: Arc<str>,
    pub(super) status: MemberStatus,
}

/// What there is to say about members.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// By the `MemberCluster` that declares the member.
    pub(super) rows: BTreeMap<ObjectName, MemberRow>,
    /// About whatever object declares it.
    pub(super) findings: Vec<Diag>,
}

/// What there is to say about all members that are declared.
pub(super) fn rows(
    registrations: &BTreeMap<MemberId, Registration>,
    report: &Report,
    traffic: &BTreeMap<Scope, Traffic>,
    timings: &StatusTimings,
) -> Members {
    let mut members = Members::default();
    let unknown = MemberReport::default();
    for (id, Registration { revision, declared_by, access, .. }) in registrations {
        let own = report.members.get(id).unwrap_or(&unknown);
        // Nothing can be said to what is gone, and another member may be declared in its place.
        if matches!(access, Err(AccessError::Undeclared(_))) {
            continue;
        }
        let is_said = |reason: &str| {
            report.diags.about(declared_by).any(|diag| diag.reason.to_string() == reason)
        };
        members.findings.extend(finding(declared_by, own, is_said));
        if declared_by.kind == ObjectKind::MemberCluster {
            let traffic = traffic.get(&Scope::Member(id.clone()));
            let contact = traffic.and_then(|own| Some((own.last_contact?, own.contact_age()?)));
            let conflict =
                report.diags.about(declared_by).find(|diag| diag.reason == Reason::AddressConflict);
            let conflict = conflict.map(|diag| diag.message.as_str());
            let status = status(own, conflict, revision.generation, contact, timings);
            let row = MemberRow { uid: revision.uid.clone(), status };
            members.rows.insert(declared_by.name.clone(), row);
        }
    }
    members
}

/// The status of a member of this generation. `conflict` is what it has in common with others;
/// `contact` is the last one, and how long it is ago.
fn status(
    own: &MemberReport,
    conflict: Option<&str>,
    generation: i64,
    contact: Option<(SystemTime, Duration)>,
    timings: &StatusTimings,
) -> MemberStatus {
    let condition = |kind: &str, is_true, reason: &str, message: &str| {
        Condition::new(kind, is_true, reason, message.to_owned(), generation)
    };
    let (reason, message) = match &own.state {
        MemberState::Connecting => ("Connecting", "no answer yet"),
        MemberState::Syncing => ("Syncing", "its objects are being listed for the first time"),
        MemberState::Live => ("Synced", ""),
        MemberState::Stale(Trouble { reason, message }) => (*reason, message.as_str()),
    };
    // Who may not read everything is connected still; who has gone silent is not, whatever else
    // is known of it.
    let connected = match contact.is_some_and(|(_, age)| age < timings.contact_lost) {
        true => condition("Connected", true, "Connected", ""),
        false if own.state == MemberState::Live => {
            condition("Connected", false, "Unreachable", "no answer for a while")
        }
        false => condition("Connected", false, reason, message),
    };
    let synced = condition("Synced", own.state == MemberState::Live, reason, message);
    let conflict = match conflict {
        Some(message) => condition("AddressConflict", true, "AddressConflict", message),
        None => condition("AddressConflict", false, "NoConflict", ""),
    };
    MemberStatus {
        conditions: vec![connected, synced, conflict],
        services: own.services,
        endpoints: own.endpoints,
        last_contact: contact.and_then(|(at, _)| seconds(at)),
        observed_generation: generation,
    }
}

/// Whether the difference is worth a write: the time of the last contact alone differs all the
/// time.
pub(super) fn is_due(
    wanted: &MemberStatus,
    written: &MemberStatus,
    timings: &StatusTimings,
) -> bool {
    let MemberStatus { conditions, services, endpoints, last_contact, observed_generation } =
        wanted;
    if *conditions != written.conditions || *observed_generation != written.observed_generation {
        return true;
    }
    let step = match (*services, *endpoints) == (written.services, written.endpoints) {
        true => timings.contact_step,
        false => timings.count_step,
    };
    match (last_contact, &written.last_contact) {
        (Some(new), Some(old)) => new.0.duration_since(old.0).unsigned_abs() >= step,
        (new, old) => new != old,
    }
}

/// What is said about the object that declares a member which cannot be read, unless the registry
/// says the same already. Who had it left alone knows it.
fn finding(
    declared_by: &ObjectRef,
    own: &MemberReport,
    is_said: impl Fn(&str) -> bool,
) -> Option<Diag> {
    let Trouble { reason, message } = own.trouble()?;
    let kept = if own.synced { "; what was read before is still served" } else { "" };
    let message = format!("{reason}: {message}{kept}");
    let is_news = *reason != "Paused" && !is_said(reason);
    is_news.then(|| Diag::error(&Field::of(declared_by), Reason::MemberStale, message))
}

/// Whole seconds, as everywhere in Kubernetes.
fn seconds(at: SystemTime) -> Option<Time> {
    let at = Timestamp::try_from(at).ok()?;
    Timestamp::from_second(at.as_second()).ok().map(Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMINGS: StatusTimings = StatusTimings::PRODUCTION;

    fn stale(reason: &'static str) -> MemberState {
        MemberState::Stale(Trouble { reason, message: "no".to_owned() })
    }

    fn report(state: MemberState) -> MemberReport {
        MemberReport { state, synced: true, services: 3, endpoints: 9, ..MemberReport::default() }
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    /// A status whose last contact was in this second.
    fn seen(state: MemberState, second: u64) -> MemberStatus {
        status(&report(state), None, 7, Some((at(second), Duration::ZERO)), &TIMINGS)
    }

    #[test]
    fn conditions_say_whether_it_answers_and_whether_it_is_read() {
        let check = |state: MemberState, age: Option<u64>, connected: &str, synced: &str| {
            let contact = age.map(|age| (at(0), Duration::from_secs(age)));
            let status = status(&report(state.clone()), None, 7, contact, &TIMINGS);
            let texts = status.conditions.iter().map(|own| {
                let Condition { r#type, status, reason, message, observed_generation } = own;
                assert_eq!(*observed_generation, 7);
                format!("{type}={status} {reason}: {message}").trim_end_matches(": ").to_owned()
            });
            let alone = "AddressConflict=False NoConflict".to_owned();
            let expect = [format!("Connected={connected}"), format!("Synced={synced}"), alone];
            assert_eq!(texts.collect::<Vec<_>>(), expect, "{state:?}");
        };
        let (yes, lists) =
            ("True Connected", "False Syncing: its objects are being listed for the first time");
        let none = "False Connecting: no answer yet";
        check(MemberState::Connecting, None, none, none);
        check(MemberState::Syncing, Some(0), yes, lists);
        check(MemberState::Live, Some(3), yes, "True Synced");
        // A short silence is none (faults.md A5), and one kind that is refused is no silence (A7).
        check(MemberState::Live, Some(74), yes, "True Synced");
        check(stale("Forbidden"), Some(3), yes, "False Forbidden: no");
        let dead = "False Unreachable: no";
        check(stale("Unreachable"), Some(75), dead, dead);
        check(stale("NeverSynced"), None, "False NeverSynced: no", "False NeverSynced: no");
    }

    #[test]
    fn fault_a17_a_condition_says_what_two_members_share() {
        let own = report(MemberState::Live);
        let status = status(&own, Some("10.0.0.1 too"), 7, None, &TIMINGS);
        let last = status.conditions.last().unwrap();
        let said = (last.r#type.as_str(), last.status.as_str(), last.message.as_str());
        assert_eq!(said, ("AddressConflict", "True", "10.0.0.1 too"));
    }

    #[test]
    fn a_difference_is_written_at_once_or_when_it_has_grown() {
        let written = seen(MemberState::Live, 100);
        let check = |edit: &dyn Fn(&mut MemberStatus), second: u64, is_due_then: bool| {
            let mut wanted = seen(MemberState::Live, second);
            edit(&mut wanted);
            assert_eq!(is_due(&wanted, &written, &TIMINGS), is_due_then, "{second}: {wanted:?}");
        };
        check(&|_| {}, 100, false);
        check(&|_| {}, 129, false);
        check(&|_| {}, 130, true);
        // The clock was set back.
        check(&|_| {}, 10, true);
        check(&|own| own.last_contact = None, 100, true);
        check(&|own| own.endpoints += 1, 104, false);
        check(&|own| own.endpoints += 1, 105, true);
        check(&|own| own.observed_generation += 1, 100, true);
        check(&|own| own.conditions.truncate(1), 100, true);
    }

    #[test]
    fn a_status_reads_as_it_was_written() {
        let status = seen(MemberState::Live, 100);
        let text = serde_json::to_value(&status).unwrap();
        assert_eq!(text["lastContact"], "1970-01-01T00:01:40Z");
        assert_eq!(serde_json::from_value::<MemberStatus>(text).unwrap(), status);
        // Somebody else's, or an older one's.
        let empty = serde_json::from_value::<MemberStatus>(serde_json::json!({})).unwrap();
        assert_eq!(empty, MemberStatus::default());
    }

    #[test]
    fn a_member_that_cannot_be_read_is_a_finding_unless_somebody_says_so_already() {
        let object = ObjectRef::fleet(ObjectKind::Secret, ObjectName::new("convoy-system", "c1"));
        let check = |state: MemberState, expect: Option<&str>| {
            let is_said = |reason: &str| reason == "CredentialsMissing";
            let found = finding(&object, &report(state), is_said).map(|diag| diag.message);
            assert_eq!(found.as_deref(), expect);
        };
        check(MemberState::Live, None);
        check(stale("Paused"), None);
        check(stale("CredentialsMissing"), None);
        check(stale("Forbidden"), Some("Forbidden: no; what was read before is still served"));
    }
}
