//! Declarations → registrations. Pure.
//!
//! Owns who wins an id: the oldest object that claims it (faults.md A15), whether or not its
//! credentials are any good. Must not know how objects arrive. Cost: linear in the declarations.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use crate::{
    api::SecretRef,
    diag::{Diag, Field, Reason},
    key::{MemberId, ObjectKind, ObjectName, ObjectRef},
    source::{
        decode::cut,
        registry::{
            Access, AccessError, CLUSTER_UID, Declarations, DeclaredCluster, DeclaredSecret,
            MEMBER_ID, Registration, SecretForm, argocd, declare,
            declared::{CLUSTER_ID, Sensitive},
            kubeconfig,
        },
    },
    store::Registered,
};

/// Key of the kubeconfig in a Secret that a `MemberCluster` refers to, where none is named.
const KUBECONFIG_KEY: &str = "kubeconfig";

/// Every declared member, and what is wrong with the declarations.
pub fn registrations(declared: &Declarations) -> (BTreeMap<MemberId, Registration>, Vec<Diag>) {
    let mut diags = Vec::new();
    let mut claims = claims(declared, &mut diags);
    claims.sort_by(|a, b| a.rank().cmp(&b.rank()));
    let mut winners: BTreeMap<MemberId, Registration> = BTreeMap::new();
    for Claim { at, registration, .. } in claims {
        match winners.entry(registration.id.clone()) {
            Entry::Occupied(winner) => diags.push(conflict(&at, winner.get())),
            Entry::Vacant(free) => {
                let error = registration.access.as_ref().err();
                diags.extend(error.map(|error| finding(&at, error)));
                free.insert(registration);
            }
        }
    }
    diags.extend(declare::overlaps(&winners));
    (winners, diags)
}

/// Adds the members that were declared `before` and are not any more: without credentials, and
/// otherwise as they were (faults.md A8). Only `remote-clusters` takes a member from a gateway.
pub fn keep_gone(
    before: &BTreeMap<MemberId, Registration>,
    now: &mut BTreeMap<MemberId, Registration>,
) {
    for (id, gone) in before {
        let Entry::Vacant(free) = now.entry(id.clone()) else { continue };
        let message = format!("{} declares it no longer", gone.declared_by);
        let access = Err(AccessError::Undeclared(message));
        free.insert(Registration { access, ..gone.clone() });
    }
}

/// One object says that there is a member.
struct Claim<'a> {
    at: Field,
    /// Tells the claims of one object apart.
    key: &'a str,
    registration: Registration,
}

impl Claim<'_> {
    fn rank(&self) -> (i64, &ObjectRef, &str) {
        (self.registration.created, &self.at.object, self.key)
    }
}

fn claims<'a>(declared: &'a Declarations, diags: &mut Vec<Diag>) -> Vec<Claim<'a>> {
    // Such a Secret is part of another declaration.
    let refs = declared.clusters.values().filter_map(|cluster| cluster.spec.secret_ref.as_ref());
    let referred: BTreeSet<ObjectName> = refs.map(secret_name).collect();
    let mut claims = Vec::new();
    for cluster in declared.clusters.values() {
        claims.extend(cluster_claim(cluster, declared, diags));
    }
    for secret in declared.secrets.values().filter(|secret| !referred.contains(&secret.name)) {
        match secret.form {
            SecretForm::Kubeconfigs => kubeconfig_claims(secret, diags, &mut claims),
            SecretForm::ArgoCd => claims.extend(argocd_claim(secret, diags)),
            SecretForm::Unlabelled => {}
        }
    }
    claims
}

fn cluster_claim<'a>(
    cluster: &'a DeclaredCluster,
    declared: &Declarations,
    diags: &mut Vec<Diag>,
) -> Option<Claim<'a>> {
    let object = ObjectRef::fleet(ObjectKind::MemberCluster, cluster.name.clone());
    let spec = &cluster.spec;
    let at = Field::of(&object).key("spec");
    let id = member_id(&spec.id, &at.key("id"), diags)?;
    let access = match &spec.secret_ref {
        None => Ok(Access::Fleet),
        Some(secret_ref) => referred_access(secret_ref, declared),
    };
    let Registered { locality, network, allowed_endpoints, allowed_namespaces, .. } =
        declare::registered(spec, &at, diags);
    let registration = Registration {
        id,
        revision: cluster.revision.clone(),
        locality,
        network,
        allowed_endpoints,
        allowed_namespaces,
        access,
        paused: spec.paused.unwrap_or(false),
        cluster_uid: None,
        declared_by: object,
        created: cluster.created,
    };
    Some(Claim { at: at.key("secretRef"), key: "", registration })
}

fn referred_access(secret_ref: &SecretRef, declared: &Declarations) -> Result<Access, AccessError> {
    let name = secret_name(secret_ref);
    if !declared.namespaces.contains(&*name.namespace) {
        let readable: Vec<_> = declared.namespaces.iter().map(String::as_str).collect();
        let readable = readable.join(", ");
        return missing(format!("Secret {name} is not in a namespace that is read: {readable}"));
    }
    let Some(secret) = declared.secrets.get(&name) else {
        return missing(format!("there is no Secret {name}"));
    };
    let in_secret = |error| {
        let message = format!("Secret {name}: {error}");
        match error {
            AccessError::CredentialsMissing(_) => AccessError::CredentialsMissing(message),
            AccessError::Undeclared(_) => AccessError::Undeclared(message),
            AccessError::InvalidKubeconfig(_) => AccessError::InvalidKubeconfig(message),
        }
    };
    let access = match secret.form {
        SecretForm::ArgoCd => argocd_access(secret),
        SecretForm::Kubeconfigs | SecretForm::Unlabelled => {
            let keys: Vec<&str> = secret.data.keys().map(String::as_str).collect();
            let key = match (&secret_ref.key, keys.as_slice()) {
                (Some(key), _) => key.as_str(),
                (None, [only]) => only,
                (None, _) => KUBECONFIG_KEY,
            };
            kubeconfig_access(secret.data.get(key), key)
        }
    };
    access.map_err(in_secret)
}

/// With the annotation, the Secret's only key holds the kubeconfig; without, each key is an id.
fn kubeconfig_claims<'a>(
    secret: &'a DeclaredSecret,
    diags: &mut Vec<Diag>,
    claims: &mut Vec<Claim<'a>>,
) {
    let root = secret_field(secret);
    let annotated = secret.annotations.get(MEMBER_ID);
    if secret.data.is_empty() && annotated.is_none() {
        let message = "it is labelled as declaring members and has no key";
        diags.push(Diag::error(&root.key("data"), Reason::CredentialsMissing, message));
    }
    if let Some(id) = annotated {
        let Some(id) = member_id(id, &root.annotation(MEMBER_ID), diags) else { return };
        let mut keys = secret.data.iter();
        let (key, access) = match (keys.next(), keys.next()) {
            (Some((key, content)), None) => (key.as_str(), kubeconfig_access(Some(content), key)),
            (None, _) => ("", missing("it has no key".to_owned())),
            (Some(_), Some(_)) => {
                ("", missing(format!("it has several keys, and `{MEMBER_ID}` names one member")))
            }
        };
        claims.push(secret_claim(secret, key, id, access, diags));
        return;
    }
    for (key, content) in &secret.data {
        let Some(id) = member_id(key, &root.key("data"), diags) else { continue };
        let access = kubeconfig_access(Some(content), key);
        claims.push(secret_claim(secret, key, id, access, diags));
    }
}

fn argocd_claim<'a>(secret: &'a DeclaredSecret, diags: &mut Vec<Diag>) -> Option<Claim<'a>> {
    let root = secret_field(secret);
    let annotation =
        |key: &str| secret.annotations.get(key).map(|id| (id.as_str(), root.annotation(key)));
    let name = || Some((argocd::name(&secret.data)?, root.key("data").key("name")));
    let named = annotation(MEMBER_ID).or_else(|| annotation(CLUSTER_ID)).or_else(name);
    let (id, at) = named.unwrap_or(("", root.annotation(CLUSTER_ID)));
    let id = member_id(id, &at, diags)?;
    Some(secret_claim(secret, "", id, argocd_access(secret), diags))
}

fn secret_claim<'a>(
    secret: &'a DeclaredSecret,
    key: &'a str,
    id: MemberId,
    access: Result<Access, AccessError>,
    diags: &mut Vec<Diag>,
) -> Claim<'a> {
    let root = secret_field(secret);
    let Registered { locality, network, allowed_endpoints, allowed_namespaces, .. } =
        declare::annotated(&secret.annotations, &root, diags);
    let at = if key.is_empty() { root.key("data") } else { root.key(&format!("data[{key}]")) };
    let registration = Registration {
        id,
        revision: secret.revision.clone(),
        locality,
        network,
        allowed_endpoints,
        allowed_namespaces,
        access,
        paused: false,
        cluster_uid: secret.annotations.get(CLUSTER_UID).map(|uid| uid.as_str().into()),
        declared_by: root.object,
        created: secret.created,
    };
    Claim { at, key, registration }
}

fn kubeconfig_access(content: Option<&Sensitive>, key: &str) -> Result<Access, AccessError> {
    let Some(content) = content else { return missing(format!("it has no key `{key}`")) };
    match kubeconfig::sanitise(content.expose()) {
        Ok(credentials) => Ok(Access::Remote(credentials)),
        Err(refusal) => Err(AccessError::InvalidKubeconfig(format!("key `{key}`: {refusal}"))),
    }
}

fn argocd_access(secret: &DeclaredSecret) -> Result<Access, AccessError> {
    let access = argocd::sanitise(&secret.data);
    access.map_err(|refusal| AccessError::InvalidKubeconfig(refusal.to_string()))
}

fn missing(message: String) -> Result<Access, AccessError> {
    Err(AccessError::CredentialsMissing(message))
}

fn member_id(text: &str, at: &Field, diags: &mut Vec<Diag>) -> Option<MemberId> {
    let id = MemberId::new(text);
    if id.is_none() {
        let message = format!("`{}` cannot be the id of a member", cut(text));
        diags.push(Diag::error(at, Reason::InvalidField, message));
    }
    id
}

fn conflict(at: &Field, winner: &Registration) -> Diag {
    let Registration { id, declared_by, .. } = winner;
    let message = format!("member `{id}` is declared by {declared_by}, which is older; ignored");
    Diag::error(&Field::of(&at.object), Reason::Conflicted, message)
}

fn finding(at: &Field, error: &AccessError) -> Diag {
    let reason = match error {
        AccessError::CredentialsMissing(_) | AccessError::Undeclared(_) => {
            Reason::CredentialsMissing
        }
        AccessError::InvalidKubeconfig(_) => Reason::InvalidKubeconfig,
    };
    Diag::error(at, reason, error.to_string())
}

fn secret_field(secret: &DeclaredSecret) -> Field {
    Field::of(&ObjectRef::fleet(ObjectKind::Secret, secret.name.clone()))
}

fn secret_name(secret_ref: &SecretRef) -> ObjectName {
    ObjectName::new(&secret_ref.namespace, &secret_ref.name)
}
