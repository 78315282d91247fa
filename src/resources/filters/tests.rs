use std::num::NonZeroU32;

use super::*;
use crate::model::RateLimit;

#[test]
fn what_a_route_asks_for_is_configured_by_the_names_in_the_chain() {
    let limit = RateLimit { total: NonZeroU32::new(5), each: None };
    let cors = Cors {
        origins: vec![Origin::Any],
        methods: "GET".into(),
        headers: "".into(),
        exposed: "".into(),
        credentials: true,
        max_age: 1,
    };
    let both = Filters { limit: Some(limit), cors: Some(cors.into()), headers: Vec::new() };
    let names = |filters: &Filters| of_route(filters).into_iter().map(|(name, _)| name);
    assert!(names(&both).eq([LIMIT, CORS]));
    assert_eq!(names(&Filters::default()).count(), 0);
}

#[test]
fn origins_below_a_domain_are_hosts_of_it_and_nothing_else() {
    let below = Origin::Below { scheme: "https://".into(), domain: "foo.com".into() };
    let matcher = format!("{:?}", origin(&below));
    assert!(matcher.contains(r"https://[^/]+\\.foo\\.com"), "{matcher}");
}

#[test]
fn a_limit_of_each_client_leaves_the_sum_open() {
    let one = NonZeroU32::new(1);
    let built = limit::of_route(RateLimit { total: None, each: one });
    assert_eq!(built.token_bucket.unwrap().max_tokens, u32::MAX);
    assert_eq!(built.descriptors[0].token_bucket.as_ref().unwrap().max_tokens, 1);
    let built = limit::of_route(RateLimit { total: one, each: None });
    assert_eq!(built.token_bucket.unwrap().max_tokens, 1);
    assert!(built.descriptors.is_empty() && built.rate_limits.is_empty());
}
