//! `convoy member remove`.

use std::io::Write;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
    },
};
use serde_json::json;

use crate::{
    api::{AlbConfig, MseIngressConfig},
    cli::member::{FleetFlags, MANAGER, secret},
    gateway::remote_clusters_key,
    key::{GatewayId, MemberId, ObjectKind, ObjectName},
    rbac::MEMBER_ACCOUNT,
    source::registry::DEFAULT_NAMESPACES,
};

/// Delete the Secret with which `convoy member add` declared a cluster
///
/// This takes Convoy's access away, and no endpoint: a cluster leaves a gateway when
/// its annotation `remote-clusters` names it no longer.
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

    for Naming { gateway, version, rest } in naming(&fleet, &id).await? {
        let GatewayId { kind, name } = &gateway;
        if !args.from_gateways {
            writeln!(out, "{kind} {name} names {id} still, and keeps its endpoints")?;
            continue;
        }
        // Not over an edit that somebody has made meanwhile.
        let annotations = json!({remote_clusters_key(*kind): rest});
        let patch = json!({"metadata": {"resourceVersion": version, "annotations": annotations}});
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let gateways = gateways(&fleet, *kind);
        let patched = gateways.patch_metadata(&name.name, &params, &Patch::Merge(&patch)).await;
        patched.with_context(|| format!("take {id} out of {kind} {name}"))?;
        writeln!(out, "{kind} {name} names {id} no longer")?;
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
    gateway: GatewayId,
    version: Option<String>,
    /// The annotation without the member.
    rest: String,
}

fn gateways(fleet: &Client, kind: ObjectKind) -> Api<DynamicObject> {
    let resource = match kind == ObjectKind::AlbConfig {
        true => ApiResource::erase::<AlbConfig>(&()),
        false => ApiResource::erase::<MseIngressConfig>(&()),
    };
    Api::all_with(fleet.clone(), &resource)
}

/// The gateways that name the member. A fleet without the CRD of a kind has none of it.
async fn naming(fleet: &Client, id: &MemberId) -> Result<Vec<Naming>> {
    let mut all = Vec::new();
    for kind in GatewayId::KINDS {
        let list = match gateways(fleet, kind).list_metadata(&ListParams::default()).await {
            Ok(list) => list.items,
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("list {kind}s")),
        };
        all.extend(list.into_iter().filter_map(|own| {
            let rest = without(own.annotations().get(remote_clusters_key(kind))?, id)?;
            let gateway = GatewayId { kind, name: ObjectName::cluster_scoped(&own.name_any()) };
            Some(Naming { gateway, version: own.resource_version(), rest })
        }));
    }
    Ok(all)
}

/// The list without the member; `None` if it is not in it.
pub(super) fn without(members: &str, id: &MemberId) -> Option<String> {
    let all = members.split(',').map(str::trim).filter(|member| !member.is_empty());
    let all: Vec<_> = all.collect();
    let rest: Vec<_> = all.iter().filter(|member| **member != id.as_str()).copied().collect();
    (rest.len() < all.len()).then(|| rest.join(","))
}
