//! Findings as Events on the objects they are about.
//!
//! Owns what an Event says and how it is named. Must not know requests. The name is made of the
//! object, the reason and the words, so that an Event that is said again, by whichever replica,
//! is counted on instead of made twice.

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::api::ApiResource;

use crate::{
    diag::{Diag, Reason},
    key::{ObjectKind, ObjectRef, Scope},
};

/// `reportingController`.
const CONTROLLER: &str = "convoy.dev/controller";
/// `action`: what was being done when it was found.
const ACTION: &str = "Translate";
/// The API allows 1 kB.
const MAX_NOTE: usize = 1024;
/// The API allows 128 characters.
const MAX_INSTANCE: usize = 128;
/// Where Events about objects without a namespace go.
const CLUSTER_SCOPED: &str = "default";

/// How the kind is reached in the API; `None` if objects of it get no Events: those of members are
/// only read, and a file is no object of the API.
pub(super) fn resource(object: &ObjectRef) -> Option<ApiResource> {
    let resource = |group: &str, version: &str, plural: &str| ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: match group {
            "" => version.to_owned(),
            _ => format!("{group}/{version}"),
        },
        kind: object.kind.as_str().to_owned(),
        plural: plural.to_owned(),
    };
    match (&object.scope, object.kind) {
        (Scope::Member(_), _) => None,
        (Scope::Fleet, ObjectKind::MseIngressConfig) => {
            Some(resource("mse.alibabacloud.com", "v1alpha1", "mseingressconfigs"))
        }
        (Scope::Fleet, ObjectKind::AlbConfig) => {
            Some(resource("alibabacloud.com", "v1", "albconfigs"))
        }
        (Scope::Fleet, ObjectKind::IngressClass) => {
            Some(resource("networking.k8s.io", "v1", "ingressclasses"))
        }
        (Scope::Fleet, ObjectKind::Ingress) => {
            Some(resource("networking.k8s.io", "v1", "ingresses"))
        }
        (Scope::Fleet, ObjectKind::Secret) => Some(resource("", "v1", "secrets")),
        (Scope::Fleet, ObjectKind::MemberCluster) => {
            Some(resource("convoy.dev", "v1alpha1", "memberclusters"))
        }
        (
            Scope::Fleet,
            ObjectKind::Service
            | ObjectKind::EndpointSlice
            | ObjectKind::Pod
            | ObjectKind::Node
            // It is said to be missing, so nothing can be said on it.
            | ObjectKind::CustomResourceDefinition
            | ObjectKind::File,
        ) => None,
    }
}

/// The Event that says all findings of one reason about one object; `None` if there are none.
pub(super) fn event<'a>(
    object: &ObjectRef,
    reason: Reason,
    findings: impl Iterator<Item = &'a Diag>,
    instance: &str,
) -> Option<Event> {
    let resource = resource(object)?;
    let note = note(findings)?;
    let namespace = Some(&*object.name.namespace).filter(|own| !own.is_empty());
    Some(Event {
        regarding: Some(ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            namespace: namespace.map(str::to_owned),
            name: Some(object.name.name.to_string()),
            ..ObjectReference::default()
        }),
        metadata: ObjectMeta {
            namespace: Some(namespace.unwrap_or(CLUSTER_SCOPED).to_owned()),
            ..ObjectMeta::default()
        },
        reason: Some(reason.to_string()),
        note: Some(note),
        type_: Some("Warning".to_owned()),
        action: Some(ACTION.to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.chars().take(MAX_INSTANCE).collect()),
        ..Event::default()
    })
}

/// The Event about the object of this uid, as it is made at `now`. With the uid `kubectl describe`
/// finds it.
pub(super) fn named(mut event: Event, uid: &str, now: Timestamp) -> Event {
    let words = [uid, text(&event.reason), text(&event.note)].join("\n");
    let hash = xxhash_rust::xxh3::xxh3_64(words.as_bytes());
    let object = event.regarding.get_or_insert_default();
    object.uid = Some(uid.to_owned());
    let suffix = format!(".{hash:016x}");
    // A name may have 253 bytes; that of an object is ASCII.
    let name: String = text(&object.name).chars().take(253 - suffix.len()).collect();
    event.metadata.name = Some(name + &suffix);
    event.event_time = Some(MicroTime(now));
    event
}

/// How a stored Event says that it was seen once more.
pub(super) fn again(stored: &Event, now: Timestamp) -> EventSeries {
    let count = stored.series.as_ref().map_or(1, |series| series.count);
    EventSeries { count: count.saturating_add(1), last_observed_time: MicroTime(now) }
}

fn note<'a>(findings: impl Iterator<Item = &'a Diag>) -> Option<String> {
    let mut findings = findings.map(|diag| match diag.field.is_empty() {
        true => diag.message.clone(),
        false => format!("{}: {}", diag.field, diag.message),
    });
    let mut note = findings.next()?;
    let more = findings.count();
    let tail = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    note.truncate(note.floor_char_boundary(MAX_NOTE - tail.len()));
    Some(note + &tail)
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{diag::Field, key::ObjectName};

    fn ingress() -> ObjectRef {
        ObjectRef::fleet(ObjectKind::Ingress, ObjectName::new("demo", "web"))
    }

    fn diags(count: usize) -> Vec<Diag> {
        let at = |n| Field::of(&ingress()).key("spec").index("rules", n);
        (0..count).map(|n| Diag::error(&at(n), Reason::InvalidPath, "no")).collect()
    }

    fn event_of(diags: &[Diag]) -> Option<Event> {
        event(&ingress(), Reason::InvalidPath, diags.iter(), "r0")
    }

    #[test]
    fn findings_of_one_reason_are_one_event() {
        let check = |count: usize, expect: Option<&str>| {
            let note = event_of(&diags(count)).and_then(|event| event.note);
            assert_eq!(note.as_deref(), expect);
        };
        check(0, None);
        check(1, Some("spec.rules[0]: no"));
        check(3, Some("spec.rules[0]: no (and 2 more)"));
    }

    #[test]
    fn events_go_where_the_object_is() {
        let place = |kind, name: ObjectName| {
            let object = ObjectRef::fleet(kind, name);
            let made = event(&object, Reason::InvalidPath, diags(1).iter(), "r0");
            made.and_then(|event| event.metadata.namespace)
        };
        let namespaced = ObjectName::new("demo", "web");
        assert_eq!(place(ObjectKind::Ingress, namespaced.clone()).as_deref(), Some("demo"));
        let gateway = ObjectName::cluster_scoped("gw");
        assert_eq!(place(ObjectKind::MseIngressConfig, gateway).as_deref(), Some("default"));
        assert_eq!(place(ObjectKind::File, namespaced), None);
    }

    #[test]
    fn an_event_said_again_has_the_same_name() {
        let name = |uid: &str, count: usize, second: i64| {
            let now = Timestamp::from_second(second).unwrap();
            named(event_of(&diags(count)).unwrap(), uid, now).metadata.name.unwrap()
        };
        assert_eq!(name("u1", 1, 1), name("u1", 1, 2));
        assert_ne!(name("u1", 1, 1), name("u2", 1, 1));
        assert_ne!(name("u1", 1, 1), name("u1", 2, 1));
        assert!(name("u1", 1, 1).starts_with("web."));
    }

    #[test]
    fn an_event_said_again_is_counted() {
        let now = Timestamp::from_second(7).unwrap();
        let once = Event::default();
        let twice = again(&once, now);
        assert_eq!(twice.count, 2);
        assert_eq!(again(&Event { series: Some(twice), ..once }, now).count, 3);
    }
}
