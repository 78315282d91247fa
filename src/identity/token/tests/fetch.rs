//! The task that fetches keys, against an API server that can be told to fail.

use std::{sync::Mutex, time::Instant};

use axum::{
    Json, Router,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};

use super::*;
use crate::{identity::token, settings::IdentityTimings};

/// What the API server publishes, and how it is.
#[derive(Default)]
struct World {
    jwks: Vec<Value>,
    is_away: bool,
    fetches: usize,
    refused: usize,
}

impl World {
    fn answer(&mut self, path: &str) -> Response {
        if self.is_away {
            self.refused += 1;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        match path {
            "/.well-known/openid-configuration" => {
                self.fetches += 1;
                let uri = "https://10.0.0.1:6443/openid/v1/jwks";
                Json(json!({"issuer": ISSUER, "jwks_uri": uri})).into_response()
            }
            "/openid/v1/jwks" => Json(json!({"keys": self.jwks})).into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

/// Keys are fetched once; again when they are asked for, at most so often.
const QUICK: IdentityTimings = IdentityTimings {
    keys: Duration::from_secs(3600),
    keys_wanted: Duration::from_millis(20),
    ..IdentityTimings::PRODUCTION
};

async fn fleet(jwks: &[&Signer]) -> (Arc<Mutex<World>>, kube::Client) {
    let jwks = jwks.iter().map(|own| own.jwk.clone()).collect();
    let world = Arc::new(Mutex::new(World { jwks, ..World::default() }));
    let answer = {
        let world = world.clone();
        move |uri: Uri| std::future::ready(world.lock().unwrap().answer(uri.path()))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let mut config = kube::Config::new(url.parse().unwrap());
    config.default_retry = false;
    (world, kube::Client::try_from(config).unwrap())
}

/// Polls until it is so.
async fn within(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn fault_s01_an_api_server_that_is_away_locks_nobody_out() {
    let signer = Signer::ecdsa("a");
    let (world, client) = fleet(&[&signer]).await;
    let (tokens, task) = token::spawn(client, QUICK);
    let good = signer.sign(&claims());
    within("keys are known", || tokens.verify(&good, now()).is_ok()).await;
    world.lock().unwrap().is_away = true;
    // Somebody asks for keys that are not there; those known stay.
    let unknown = Signer::ecdsa("b").sign(&claims());
    assert_eq!(tokens.verify(&unknown, now()), Err(TokenError::UnknownKey));
    let refused = world.lock().unwrap().refused;
    within("it was asked in vain", || world.lock().unwrap().refused > refused).await;
    assert_eq!(tokens.verify(&good, now()), Ok(envoy()));
    task.abort();
}

#[tokio::test]
async fn a_new_key_is_fetched_when_the_first_token_of_it_comes() {
    let (old, new) = (Signer::ecdsa("a"), Signer::ecdsa("b"));
    let (world, client) = fleet(&[&old]).await;
    // One that nobody here knows does not spoil the others.
    world.lock().unwrap().jwks.push(json!({"kty": "OKP", "kid": "x", "crv": "Ed448"}));
    let (tokens, task) = token::spawn(client, QUICK);
    let token = old.sign(&claims());
    within("keys are known", || tokens.verify(&token, now()).is_ok()).await;
    world.lock().unwrap().jwks.push(new.jwk.clone());
    let token = new.sign(&claims());
    within("the new key is known", || tokens.verify(&token, now()).is_ok()).await;
    task.abort();
}

#[tokio::test]
async fn unknown_keys_make_few_requests() {
    let signer = Signer::ecdsa("a");
    let (world, client) = fleet(&[&signer]).await;
    let slow = IdentityTimings { keys_wanted: Duration::from_secs(3600), ..QUICK };
    let (tokens, task) = token::spawn(client, slow);
    within("keys are known", || tokens.verify(&signer.sign(&claims()), now()).is_ok()).await;
    let unknown = Signer::ecdsa("b").sign(&claims());
    for _ in 0..100 {
        assert_eq!(tokens.verify(&unknown, now()), Err(TokenError::UnknownKey));
        tokio::task::yield_now().await;
    }
    assert_eq!(world.lock().unwrap().fetches, 1);
    task.abort();
}
