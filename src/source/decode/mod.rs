//! Manifests → trimmed objects.
//!
//! Owns what of a manifest is kept, and what is refused at the edge so that no later stage has to
//! look: names, sizes, certificates. Pure; `now` is an argument. Must not know where a manifest
//! came from. Cost: linear in the manifest.

mod gateway;
mod ingress;
mod member;
mod names;
mod node;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use names::{is_label, is_subdomain};
pub(crate) use tls::{Checked, check, write_pem};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    api::MemberClusterSpec,
    diag::{Diag, Field, Reason},
    key::{MemberId, ObjectKind, ObjectName, ObjectRef, Scope},
    source::registry,
    store::{Labels, MemberCluster, Object},
};

/// Longest value of an annotation that is read (faults.md F3).
pub const MAX_ANNOTATION_BYTES: usize = 4 << 10;

/// Kinds that a directory may well hold beside ours, and that nobody expects Convoy to read.
const EXPECTED: [&str; 29] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "ControllerRevision",
    "CronJob",
    "CustomResourceDefinition",
    "DaemonSet",
    "Deployment",
    "Endpoints",
    "Event",
    "HorizontalPodAutoscaler",
    "Job",
    "Kustomization",
    "Lease",
    "LimitRange",
    "MutatingWebhookConfiguration",
    "Namespace",
    "NetworkPolicy",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "PriorityClass",
    "ReplicaSet",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "ServiceAccount",
    "StatefulSet",
    "StorageClass",
];

/// What became of one manifest.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// An object that Convoy reads, with what is wrong in it.
    Object {
        /// The object.
        object: Object,
        /// Findings on the object.
        diags: Vec<Diag>,
        /// When the verdict on its certificate changes, in seconds since 1970.
        judge_again: Option<i64>,
    },
    /// An object that Convoy would read, were it legal. The finding names it.
    Refused(Diag),
    /// No object at all; what is missing.
    Nameless(String),
    /// An object that Convoy does not read; why, if its author may have expected otherwise.
    Ignored(Option<String>),
}

/// The manifests of a document: itself, or the items of a `List` of any kind.
pub fn manifests(document: Value) -> Vec<Value> {
    let kind = text(&document, "kind").unwrap_or_default().to_owned();
    let Some(item_kind) = kind.strip_suffix("List") else { return vec![document] };
    let api_version = text(&document, "apiVersion").unwrap_or_default().to_owned();
    let Value::Object(mut list) = document else { return Vec::new() };
    let items = match list.remove("items") {
        Some(Value::Array(items)) => items,
        Some(Value::Null) | None => return Vec::new(),
        Some(_not_a_list) => return vec![Value::Object(list)],
    };
    let named = |mut item: Value| {
        // A typed list leaves out what its own kind says.
        if let (Value::Object(fields), false) = (&mut item, item_kind.is_empty()) {
            fields.entry("kind").or_insert_with(|| item_kind.into());
            fields.entry("apiVersion").or_insert_with(|| api_version.as_str().into());
        }
        item
    };
    items.into_iter().map(named).flat_map(manifests).collect()
}

/// Trims one manifest read from `scope`. `now` is in seconds since 1970.
pub fn decode(scope: &Scope, manifest: Value, now: i64) -> Decoded {
    let kind = match readable_kind(scope, &manifest) {
        Ok(kind) => kind,
        Err(other) => return other,
    };
    let name = match object_name(kind, &manifest) {
        Ok(name) => name,
        Err(message) => return Decoded::Nameless(message),
    };
    let object = ObjectRef { scope: scope.clone(), kind, name: name.clone() };
    let mut findings =
        Findings { at: Field::of(&object), now, diags: Vec::new(), judge_again: None };
    let trimmed = match kind {
        ObjectKind::MseIngressConfig => gateway::mse(name, manifest, &mut findings),
        ObjectKind::AlbConfig => gateway::alb(name, manifest, &mut findings),
        ObjectKind::IngressClass => gateway::class(name, manifest),
        ObjectKind::Ingress => ingress::ingress(name, manifest, &mut findings),
        ObjectKind::Secret => tls::secret(name, manifest, &mut findings),
        ObjectKind::Service => member::service(name, manifest, &mut findings),
        ObjectKind::EndpointSlice => member::slice(name, manifest, &mut findings),
        ObjectKind::Pod => member::pod(name, manifest),
        ObjectKind::Node => node::node(name, manifest),
        ObjectKind::MemberCluster => declaration(name, manifest, &mut findings),
        ObjectKind::CustomResourceDefinition | ObjectKind::File => {
            return Decoded::Ignored(None);
        }
    };
    let Findings { at, now: _, diags, judge_again } = findings;
    match trimmed {
        Ok(Some(object)) => Decoded::Object { object, diags, judge_again },
        Ok(None) => Decoded::Ignored(None),
        Err(Refusal { path, message }) => {
            let at = Field { path, ..at };
            Decoded::Refused(Diag::error(&at, Reason::InvalidField, message))
        }
    }
}

/// A `MemberCluster`: what it declares of the member that is called so, however its API is reached.
fn declaration(name: ObjectName, manifest: Value, findings: &mut Findings) -> Trimmed {
    #[derive(Deserialize)]
    struct Content {
        spec: MemberClusterSpec,
    }
    let Content { spec } = typed(manifest)?;
    let at = findings.at.key("spec");
    let Some(member) = MemberId::new(&spec.id) else {
        let message = format!("`{}` cannot be the id of a member", cut(&spec.id));
        return Err(Refusal { path: at.key("id").path, message });
    };
    let registered = registry::registered(&spec, &at, &mut findings.diags);
    Ok(Some(Object::MemberCluster(MemberCluster { name, member, registered }.into())))
}

/// Why a manifest is refused as a whole.
struct Refusal {
    /// Path of the field.
    path: String,
    message: String,
}

/// What a trimmed manifest is: nothing, if it is none of our business.
type Trimmed = Result<Option<Object>, Refusal>;

/// Collected while one manifest is trimmed.
struct Findings {
    at: Field,
    now: i64,
    diags: Vec<Diag>,
    judge_again: Option<i64>,
}

impl Findings {
    fn invalid(&mut self, path: &str, message: impl Into<String>) {
        self.diags.push(Diag::error(&self.at.key(path), Reason::InvalidField, message));
    }

    /// The annotations with one of `prefixes`. One that is too long keeps its key, so that whoever
    /// must not overlook it sees it, and is empty, which no annotation may be.
    fn annotations(
        &mut self,
        all: Option<std::collections::BTreeMap<String, String>>,
        prefixes: &[&str],
    ) -> Labels {
        let ours = |key: &str| prefixes.iter().any(|prefix| key.starts_with(prefix));
        let ours = all.into_iter().flatten().filter(|(key, _)| ours(key));
        ours.map(|(key, mut value)| {
            if value.len() > MAX_ANNOTATION_BYTES {
                let message =
                    format!("{} bytes are more than {MAX_ANNOTATION_BYTES}; ignored", value.len());
                let at = self.at.annotation(&key);
                self.diags.push(Diag::error(&at, Reason::LimitExceeded, message));
                value.clear();
            }
            (key.into(), value.into())
        })
        .collect()
    }
}

/// The kind, if objects of it are read in this scope.
fn readable_kind(scope: &Scope, manifest: &Value) -> Result<ObjectKind, Decoded> {
    let Value::Object(_) = manifest else {
        return Err(Decoded::Nameless("not a mapping".to_owned()));
    };
    let field = |key: &str| {
        text(manifest, key).ok_or_else(|| Decoded::Nameless(format!("`{key}` is missing")))
    };
    let kind_name = field("kind")?;
    let api_version = field("apiVersion")?;
    let mut kinds = ObjectKind::ALL.into_iter().chain([ObjectKind::MemberCluster]);
    let Some(kind) = kinds.find(|kind| kind.as_str() == kind_name) else {
        let is_expected = EXPECTED.contains(&kind_name);
        let note = || format!("objects of kind `{}` are not read", cut(kind_name));
        return Err(Decoded::Ignored((!is_expected).then(note)));
    };
    let (expected, belongs_in_fleet) = home(kind);
    if api_version != expected {
        let note = format!("{kind} is read as `{expected}`, not as `{}`", cut(api_version));
        return Err(Decoded::Ignored(Some(note)));
    }
    match (scope, belongs_in_fleet) {
        (Scope::Fleet, true) | (Scope::Member(_), false) => Ok(kind),
        // Ordinary content of a cluster; the others would be a misunderstanding.
        (Scope::Member(_), true) if kind == ObjectKind::Secret => Err(Decoded::Ignored(None)),
        (Scope::Member(_), true) => {
            let note = format!("objects of kind {kind} are read in the fleet, not in members");
            Err(Decoded::Ignored(Some(note)))
        }
        (Scope::Fleet, false) => {
            let note = format!("objects of kind {kind} are read in members, not in the fleet");
            Err(Decoded::Ignored(Some(note)))
        }
    }
}

/// `apiVersion` of a kind, and whether it lives in the fleet.
fn home(kind: ObjectKind) -> (&'static str, bool) {
    match kind {
        ObjectKind::MemberCluster => ("convoy.dev/v1alpha1", true),
        ObjectKind::CustomResourceDefinition => ("apiextensions.k8s.io/v1", true),
        ObjectKind::MseIngressConfig => ("mse.alibabacloud.com/v1alpha1", true),
        ObjectKind::AlbConfig => ("alibabacloud.com/v1", true),
        ObjectKind::IngressClass | ObjectKind::Ingress => ("networking.k8s.io/v1", true),
        ObjectKind::Secret => ("v1", true),
        ObjectKind::EndpointSlice => ("discovery.k8s.io/v1", false),
        ObjectKind::Service | ObjectKind::Pod | ObjectKind::Node | ObjectKind::File => {
            ("v1", false)
        }
    }
}

fn is_cluster_scoped(kind: ObjectKind) -> bool {
    match kind {
        ObjectKind::MseIngressConfig
        | ObjectKind::AlbConfig
        | ObjectKind::IngressClass
        | ObjectKind::Node
        | ObjectKind::MemberCluster
        | ObjectKind::CustomResourceDefinition => true,
        ObjectKind::Ingress
        | ObjectKind::Secret
        | ObjectKind::Service
        | ObjectKind::EndpointSlice
        | ObjectKind::Pod
        | ObjectKind::File => false,
    }
}

/// Names are checked here because resource names are formed from them (faults.md F21).
fn object_name(kind: ObjectKind, manifest: &Value) -> Result<ObjectName, String> {
    let metadata = manifest.get("metadata").unwrap_or(&Value::Null);
    let name = text(metadata, "name").unwrap_or_default();
    if name.is_empty() {
        return Err(format!("`metadata.name` of the {kind} is missing"));
    }
    if !names::is_subdomain(name) {
        return Err(format!("`{}` is not a legal name for kind {kind}", cut(name)));
    }
    if is_cluster_scoped(kind) {
        return Ok(ObjectName::cluster_scoped(name));
    }
    let namespace = text(metadata, "namespace").filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or("default");
    if !names::is_label(namespace) {
        return Err(format!("`{}` is not a legal namespace, for {kind} {name}", cut(namespace)));
    }
    Ok(ObjectName::new(namespace, name))
}

/// The manifest as its type; else which field is of another one.
fn typed<T: DeserializeOwned>(manifest: Value) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(manifest).map_err(|err| {
        let path = err.path().to_string();
        let path = if path == "." { String::new() } else { path };
        Refusal { path, message: cut(&err.inner().to_string()).to_owned() }
    })
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// Text of unknown length, for a message.
pub(super) fn cut(text: &str) -> &str {
    const MAX: usize = 200;
    match text.char_indices().nth(MAX) {
        Some((idx, _)) => text.get(..idx).unwrap_or(text),
        None => text,
    }
}
