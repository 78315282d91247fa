//! `convoy member remove`.

use std::io::Write;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PartialObjectMeta, Patch, PatchParams, Preconditions},
};
use serde_json::json;

use crate::{
    api::MseIngressConfig,
    cli::member::{FleetFlags, MANAGER, secret},
    key::MemberId,
    rbac::MEMBER_ACCOUNT,
    source::registry::DEFAULT_NAMESPACES,
};

/// Annotation of a gateway: its members.
const REMOTE_CLUSTERS: &str = "mse.alibabacloud.com/remote-clusters";

/// Delete the Secret with which `convoy member add` declared a cluster
///
/// This takes Convoy's access away, and no endpoint: a cluster leaves a gateway when
/// `mse.alibabacloud.com/remote-clusters` names it no longer.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id of the cluster
    #[arg(long, value_name = "ID")]
    id: String,
    /// Namespace of the Secret
    #[arg(long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACES[0])]
    namespace: String,
    /// Also take the cluster out of the gateways that name it, first
    #[arg(long)]
    from_gateways: bool,
    #[command(flatten)]
    fleet: FleetFlags,
}

pub(super) async fn run(args: &Args, out: &mut impl Write) -> Result<()> {
    let Some(id) = MemberId::new(&args.id) else { bail!("`{}` is no id of a member", args.id) };
    let fleet = args.fleet.client().await?;
    let secrets: Api<Secret> = Api::namespaced(fleet.clone(), &args.namespace);
    let name = secret::name(&id);
    let found = secrets.get_opt(&name).await.with_context(|| format!("get Secret {name}"))?;
    let Some(found) = found else {
        bail!(
            "no Secret {}/{name}: see `convoy member list` for what declares {id}",
            args.namespace
        )
    };
    let managed = found.labels().get("app.kubernetes.io/managed-by");
    if managed.is_none_or(|by| by != secret::MANAGED_BY) {
        bail!("Secret {}/{name} was not made by `convoy member add`", args.namespace);
    }

    let gateways: Api<MseIngressConfig> = Api::all(fleet.clone());
    for Naming { gateway, version, rest } in naming(&fleet, &id).await? {
        if !args.from_gateways {
            writeln!(out, "MseIngressConfig {gateway} names {id} still, and keeps its endpoints")?;
            continue;
        }
        // Not over an edit that somebody has made meanwhile.
        let annotations = json!({REMOTE_CLUSTERS: rest});
        let patch = json!({"metadata": {"resourceVersion": version, "annotations": annotations}});
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patched = gateways.patch_metadata(&gateway, &params, &Patch::Merge(&patch)).await;
        patched.with_context(|| format!("take {id} out of MseIngressConfig {gateway}"))?;
        writeln!(out, "MseIngressConfig {gateway} names {id} no longer")?;
    }

    // Not one that somebody made anew in the meantime.
    let uid = Preconditions { uid: found.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(uid), ..DeleteParams::default() };
    secrets.delete(&name, &params).await.with_context(|| format!("delete Secret {name}"))?;
    writeln!(out, "Secret {}/{name} is deleted", args.namespace)?;
    writeln!(
        out,
        "in the cluster itself, delete ServiceAccount {}/{MEMBER_ACCOUNT} to end its tokens",
        args.namespace
    )?;
    Ok(())
}

/// A gateway that names the member.
struct Naming {
    gateway: String,
    version: Option<String>,
    /// The annotation without the member.
    rest: String,
}

/// The gateways that name the member. A fleet without the CRD has none.
async fn naming(fleet: &Client, id: &MemberId) -> Result<Vec<Naming>> {
    let gateways: Api<MseIngressConfig> = Api::all(fleet.clone());
    let list = match gateways.list_metadata(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error).context("list MseIngressConfigs"),
    };
    let naming = list.into_iter().filter_map(|gateway: PartialObjectMeta<MseIngressConfig>| {
        let rest = without(gateway.annotations().get(REMOTE_CLUSTERS)?, id)?;
        Some(Naming { gateway: gateway.name_any(), version: gateway.resource_version(), rest })
    });
    Ok(naming.collect())
}

/// The list without the member; `None` if it is not in it.
pub(super) fn without(members: &str, id: &MemberId) -> Option<String> {
    let all = members.split(',').map(str::trim).filter(|member| !member.is_empty());
    let all: Vec<_> = all.collect();
    let rest: Vec<_> = all.iter().filter(|member| **member != id.as_str()).copied().collect();
    (rest.len() < all.len()).then(|| rest.join(","))
}
