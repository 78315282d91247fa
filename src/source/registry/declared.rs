//! The objects that declare members, trimmed.
//!
//! Owns which labels and annotations are read, and that content of Secrets is never printed
//! (faults.md S6). Must not judge anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    api::MemberClusterSpec,
    diag::{Diag, Field, Reason},
    key::{ObjectKind, ObjectName, ObjectRef},
    source::{
        decode::cut,
        registry::{
            ALLOWED_ENDPOINTS, ALLOWED_NAMESPACES, CLUSTER_UID, MEMBER_ID, MEMBER_LABEL, NETWORK,
            REGION, Revision, ZONE,
        },
    },
};

/// Istio's label of a Secret with the kubeconfigs of remote clusters.
pub(super) const ISTIO_LABEL: &str = "istio/multiCluster";
/// Argo CD's label of a Secret with one cluster; its value is `cluster`.
pub(super) const ARGOCD_LABEL: &str = "argocd.argoproj.io/secret-type";
/// Annotation of such a Secret: the cluster's id.
pub(super) const CLUSTER_ID: &str = "cluster_id";

const ANNOTATIONS: [&str; 8] = [
    MEMBER_ID,
    CLUSTER_ID,
    CLUSTER_UID,
    REGION,
    ZONE,
    NETWORK,
    ALLOWED_ENDPOINTS,
    ALLOWED_NAMESPACES,
];

/// Everything that may declare a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declarations {
    /// Where Secrets are read.
    pub namespaces: BTreeSet<String>,
    /// Secrets that declare members, and those that `MemberCluster`s refer to.
    pub secrets: BTreeMap<ObjectName, DeclaredSecret>,
    /// All `MemberCluster`s.
    pub clusters: BTreeMap<ObjectName, DeclaredCluster>,
}

/// A Secret with credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredSecret {
    /// Namespace and name.
    pub name: ObjectName,
    /// Which state of it this is.
    pub revision: Revision,
    /// Seconds since 1970.
    pub created: i64,
    /// How its content is to be read.
    pub form: SecretForm,
    /// Only those that are read.
    pub annotations: BTreeMap<String, String>,
    /// `data`.
    pub data: BTreeMap<String, Sensitive>,
}

/// How the content of a Secret is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretForm {
    /// Labelled as declaring members, one kubeconfig a key.
    Kubeconfigs,
    /// Labelled as a cluster of Argo CD.
    ArgoCd,
    /// It declares nothing by itself; a `MemberCluster` refers to it.
    Unlabelled,
}

/// A `MemberCluster`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredCluster {
    /// Cluster-scoped.
    pub name: ObjectName,
    /// Which state of it this is.
    pub revision: Revision,
    /// Seconds since 1970.
    pub created: i64,
    /// As declared.
    pub spec: MemberClusterSpec,
}

/// Content of a Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Sensitive(Vec<u8>);

impl Sensitive {
    /// The content.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Sensitive {
    fn from(content: Vec<u8>) -> Sensitive {
        Sensitive(content)
    }
}

impl fmt::Debug for Sensitive {
    /// Never prints the content (faults.md S6).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, redacted", self.0.len())
    }
}

impl From<core::Secret> for DeclaredSecret {
    fn from(secret: core::Secret) -> DeclaredSecret {
        let core::Secret { metadata, data, .. } = secret;
        let labels = metadata.labels.clone().unwrap_or_default();
        let has = |key: &str, value: &str| labels.get(key).is_some_and(|own| own == value);
        let form = if has(ARGOCD_LABEL, "cluster") {
            SecretForm::ArgoCd
        } else if has(MEMBER_LABEL, "true") || has(ISTIO_LABEL, "true") {
            SecretForm::Kubeconfigs
        } else {
            SecretForm::Unlabelled
        };
        let annotations = metadata.annotations.clone().unwrap_or_default().into_iter();
        let annotations = annotations.filter(|(key, _)| ANNOTATIONS.contains(&key.as_str()));
        let data = data.unwrap_or_default().into_iter();
        DeclaredSecret {
            name: object_name(&metadata),
            revision: revision(&metadata),
            created: created(&metadata),
            form,
            annotations: annotations.collect(),
            data: data.map(|(key, content)| (key, content.0.into())).collect(),
        }
    }
}

/// The declarations among these objects. A `MemberCluster` of another shape is none.
pub fn declarations(
    namespaces: BTreeSet<String>,
    secrets: Vec<core::Secret>,
    clusters: Vec<DynamicObject>,
) -> Declarations {
    let secrets = secrets.into_iter().map(DeclaredSecret::from);
    let clusters = clusters.into_iter().filter_map(|object| cluster(object).ok());
    Declarations {
        namespaces,
        secrets: secrets.map(|own| (own.name.clone(), own)).collect(),
        clusters: clusters.map(|own| (own.name.clone(), own)).collect(),
    }
}

/// A `MemberCluster` as read. One whose spec is of another shape, which the schema should have
/// refused, is a finding about itself and stops nobody else.
pub(super) fn cluster(object: DynamicObject) -> Result<DeclaredCluster, Diag> {
    #[derive(Deserialize)]
    struct Content {
        spec: MemberClusterSpec,
    }
    let DynamicObject { metadata, data, .. } = object;
    let name = object_name(&metadata);
    let content: Result<Content, _> = serde_path_to_error::deserialize::<Value, _>(data);
    match content {
        Ok(Content { spec }) => {
            let (revision, created) = (revision(&metadata), created(&metadata));
            Ok(DeclaredCluster { name, revision, created, spec })
        }
        Err(err) => {
            let at = Field {
                object: ObjectRef::fleet(ObjectKind::MemberCluster, name),
                path: err.path().to_string(),
            };
            Err(Diag::error(&at, Reason::InvalidField, cut(&err.inner().to_string())))
        }
    }
}

pub(super) fn object_name(metadata: &ObjectMeta) -> ObjectName {
    let text = |own: &Option<String>| own.as_deref().unwrap_or_default().into();
    ObjectName { namespace: text(&metadata.namespace), name: text(&metadata.name) }
}

fn revision(metadata: &ObjectMeta) -> Revision {
    Revision {
        uid: metadata.uid.as_deref().unwrap_or_default().into(),
        generation: metadata.generation.unwrap_or_default(),
    }
}

fn created(metadata: &ObjectMeta) -> i64 {
    metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}
