//! What is in a volume that comes from the API: ConfigMaps, Secrets, tokens, fields of the pod.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{
            ConfigMap, ConfigMapProjection, DownwardAPIProjection, KeyToPath, Secret,
            SecretProjection, ServiceAccount, ServiceAccountTokenProjection, Volume,
            VolumeProjection,
        },
    },
    serde::de::DeserializeOwned,
};
use kube::{
    Api, Resource, ResourceExt,
    api::PostParams,
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt, StreamMap};

use super::{
    Shared,
    files::{File, Files},
};
use crate::clusters::kubelet::Steady;

/// As the API defaults it.
const MODE: i32 = 0o644;

/// As the API defaults it, in seconds.
const LIFETIME: i64 = 3600;

/// Something of a payload may have changed.
pub(super) type Changes = StreamMap<String, Pin<Box<dyn Stream<Item = ()> + Send>>>;

/// A token of the pod's account, and when a kubelet asks for the next.
struct Token {
    text: String,
    due: Instant,
}

/// What a volume is made of.
pub(super) struct Payload {
    shared: Arc<Shared>,
    sources: Vec<VolumeProjection>,
    mode: i32,
    /// By the path of their file.
    tokens: BTreeMap<String, Token>,
}

impl Payload {
    /// None of a volume that does not come from the API.
    pub(super) fn of(shared: &Arc<Shared>, volume: &Volume) -> Option<Payload> {
        let (sources, mode) = if let Some(map) = volume.config_map.clone() {
            let source =
                ConfigMapProjection { items: map.items, name: map.name, optional: map.optional };
            (
                vec![VolumeProjection { config_map: Some(source), ..Default::default() }],
                map.default_mode,
            )
        } else if let Some(secret) = volume.secret.clone() {
            let source = SecretProjection {
                items: secret.items,
                name: secret.secret_name.unwrap_or_default(),
                optional: secret.optional,
            };
            (
                vec![VolumeProjection { secret: Some(source), ..Default::default() }],
                secret.default_mode,
            )
        } else if let Some(fields) = volume.downward_api.clone() {
            let source = DownwardAPIProjection { items: fields.items };
            let source = VolumeProjection { downward_api: Some(source), ..Default::default() };
            (vec![source], fields.default_mode)
        } else {
            let projected = volume.projected.clone()?;
            (projected.sources.unwrap_or_default(), projected.default_mode)
        };
        let mode = mode.unwrap_or(MODE);
        Some(Payload { shared: shared.clone(), sources, mode, tokens: BTreeMap::new() })
    }

    /// What the API says now.
    ///
    /// # Errors
    /// What is missing.
    pub(super) async fn gather(&mut self) -> Result<Files, String> {
        let mut files = Files::new();
        for source in self.sources.clone() {
            if let Some(from) = source.config_map {
                let map: Option<ConfigMap> = self.get(&from.name).await?;
                let map = map.map(|map| {
                    let text = map.data.unwrap_or_default().into_iter();
                    let binary = map.binary_data.unwrap_or_default().into_iter();
                    let text = text.map(|(key, value)| (key, value.into_bytes()));
                    text.chain(binary.map(|(key, value)| (key, value.0))).collect()
                });
                let chosen = choose(map, from.items, from.optional == Some(true), self.mode);
                files.extend(chosen.map_err(|why| format!("ConfigMap {}: {why}", from.name))?);
            }
            if let Some(from) = source.secret {
                let secret: Option<Secret> = self.get(&from.name).await?;
                let secret = secret.map(|secret| {
                    let data = secret.data.unwrap_or_default().into_iter();
                    data.map(|(key, value)| (key, value.0)).collect()
                });
                let chosen = choose(secret, from.items, from.optional == Some(true), self.mode);
                files.extend(chosen.map_err(|why| format!("Secret {}: {why}", from.name))?);
            }
            if let Some(wanted) = source.service_account_token {
                let content = self.token(&wanted).await?.into_bytes();
                files.insert(wanted.path, File { content, mode: mode(self.mode) });
            }
            for item in source.downward_api.into_iter().flat_map(|it| it.items).flatten() {
                let path = item.field_ref.map(|field| field.field_path).unwrap_or_default();
                let content = self.shared.field(&path)?.into_bytes();
                files.insert(
                    item.path,
                    File { content, mode: mode(item.mode.unwrap_or(self.mode)) },
                );
            }
        }
        Ok(files)
    }

    /// When there is something to do, though nothing changed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.tokens.values().map(|token| token.due).min()
    }

    /// Forgets the tokens.
    pub(super) fn renew(&mut self) {
        self.tokens.clear();
    }

    /// By watch, as a kubelet hears of it.
    pub(super) fn changes(&self) -> Changes {
        let mut changes = Changes::new();
        for source in &self.sources {
            if let Some(from) = &source.config_map {
                changes.insert(format!("map {}", from.name), self.watch::<ConfigMap>(&from.name));
            }
            if let Some(from) = &source.secret {
                changes.insert(format!("secret {}", from.name), self.watch::<Secret>(&from.name));
            }
        }
        changes
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.shared.client.clone(), &self.shared.namespace())
    }

    async fn get<K>(&self, name: &str) -> Result<Option<K>, String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.api().get_opt(name).await.map_err(|e| e.to_string())
    }

    fn watch<K>(&self, name: &str) -> Pin<Box<dyn Stream<Item = ()> + Send>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + 'static,
    {
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        Box::pin(watcher(self.api::<K>(), only).backoff(Steady).map(drop))
    }

    async fn token(&mut self, wanted: &ServiceAccountTokenProjection) -> Result<String, String> {
        let known = self.tokens.get(&wanted.path).filter(|token| Instant::now() < token.due);
        if let Some(token) = known {
            return Ok(token.text.clone());
        }
        let pod = &self.shared.pod;
        let lifetime = wanted.expiration_seconds.unwrap_or(LIFETIME);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: wanted.audience.clone().map(|audience| vec![audience]),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(pod.name_any()),
                    uid: pod.uid(),
                }),
                expiration_seconds: Some(lifetime),
            }),
            ..TokenRequest::default()
        };
        let (accounts, account) = (self.api::<ServiceAccount>(), self.shared.account());
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        let text = answer.map_err(|e| e.to_string())?.status.and_then(|status| status.token);
        let text = text.ok_or("an answer without a token")?;
        // A kubelet asks again when a fifth of the time is left.
        let due = Instant::now() + Duration::from_secs(lifetime.unsigned_abs()) * 4 / 5;
        self.tokens.insert(wanted.path.clone(), Token { text: text.clone(), due });
        Ok(text)
    }
}

/// All keys, or those that are listed, under the paths that they are listed with.
fn choose(
    data: Option<BTreeMap<String, Vec<u8>>>,
    items: Option<Vec<KeyToPath>>,
    is_optional: bool,
    default: i32,
) -> Result<Files, String> {
    let mut data = match data {
        Some(data) => data,
        None if is_optional => return Ok(Files::new()),
        None => return Err("it is not there".to_owned()),
    };
    let file = |content, own: Option<i32>| File { content, mode: mode(own.unwrap_or(default)) };
    let Some(items) = items else {
        return Ok(data.into_iter().map(|(key, content)| (key, file(content, None))).collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.remove(&item.key) {
            Some(content) => {
                files.insert(item.path, file(content, item.mode));
            }
            None if is_optional => {}
            None => return Err(format!("it has no key {}", item.key)),
        }
    }
    Ok(files)
}

fn mode(bits: i32) -> u32 {
    bits.unsigned_abs()
}
