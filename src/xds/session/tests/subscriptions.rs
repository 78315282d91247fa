//! Subscriptions, versions, nonces and acknowledgements: xds.md 3.1 to 3.4.

use crate::xds::{
    request::Variant::{Delta, Sotw},
    session::tests::script::check,
};

// 3.1, 3.2: subscriptions

#[test]
fn the_first_wildcard_request_is_answered_even_if_nothing_exists() {
    check(
        Delta,
        "commit +eds:x
         sub cds        -> cds
         ack cds
         sub lds        -> lds
         ack lds",
    );
    check(
        Sotw,
        "commit +eds:x
         list cds       -> cds
         ack cds
         list lds       -> lds
         ack lds",
    );
}

#[test]
fn nothing_is_said_before_the_gateway_exists() {
    check(
        Delta,
        "sub cds
         sub eds a
         commit +cds:a +eds:a  -> cds +a; eds +a",
    );
    check(
        Sotw,
        "list cds
         list eds a
         commit +cds:a +eds:a  -> cds a; eds a",
    );
}

#[test]
fn only_clusters_and_listeners_have_a_wildcard() {
    check(
        Delta,
        "commit +eds:a +rds:a +sds:a
         sub eds
         sub rds
         sub sds
         sub eds *      -> eds -*",
    );
    check(
        Sotw,
        "commit +eds:a +rds:a +sds:a
         list eds
         list rds
         list sds
         list eds *",
    );
}

#[test]
fn sotw_requests_carry_the_full_set_of_names() {
    check(
        Sotw,
        "commit +eds:a +eds:b +eds:c
         list eds a b       -> eds a b
         ack eds
         list eds b c       -> eds c
         ack eds
         commit +eds:a@2
         commit +eds:b@2    -> eds b@2",
    );
}

#[test]
fn delta_requests_add_and_drop_names() {
    check(
        Delta,
        "commit +eds:a +eds:b +eds:c
         sub eds a b        -> eds +a +b
         ack eds
         sub eds c          -> eds +c
         ack eds
         unsub eds a
         commit +eds:a@2
         commit +eds:b@2    -> eds +b@2",
    );
}

#[test]
fn a_legacy_wildcard_lasts_while_no_request_named_a_name() {
    check(
        Sotw,
        "commit +lds:a
         list lds           -> lds a
         ack lds
         list lds
         commit +lds:b      -> lds a b",
    );
    check(
        Delta,
        "commit +lds:a
         sub lds            -> lds +a
         ack lds
         sub lds
         commit +lds:b      -> lds +b",
    );
}

#[test]
fn names_end_a_sotw_legacy_wildcard_and_join_a_delta_one() {
    check(
        Sotw,
        "commit +lds:a +lds:b
         list lds           -> lds a b
         ack lds
         list lds a         -> lds a
         ack lds
         commit +lds:b@2",
    );
    check(
        Delta,
        "commit +lds:a +lds:b
         sub lds            -> lds +a +b
         ack lds
         sub lds a          -> lds +a
         ack lds
         commit +lds:b@2    -> lds +b@2",
    );
}

#[test]
fn an_explicit_wildcard_stands_beside_names() {
    check(
        Sotw,
        "commit +cds:a +cds:b
         list cds * a       -> cds a b
         ack cds
         list cds a
         commit +cds:b@2
         commit +cds:a@2    -> cds a@2
         ack cds
         list cds a *       -> cds a@2 b@2",
    );
    check(
        Delta,
        "commit +cds:a +cds:b
         sub cds * a        -> cds +a +b
         ack cds
         unsub cds *
         commit +cds:b@2
         commit +cds:a@2    -> cds +a@2
         ack cds
         sub cds *          -> cds +b@2",
    );
}

#[test]
fn an_empty_list_after_names_unsubscribes_from_all() {
    check(
        Sotw,
        "commit +cds:a +cds:b
         list cds a         -> cds a
         ack cds
         list cds
         commit +cds:a@2 +cds:b@2",
    );
    check(
        Delta,
        "commit +cds:a +cds:b
         sub cds a          -> cds +a
         ack cds
         unsub cds a
         sub cds
         commit +cds:a@2 +cds:b@2",
    );
}

#[test]
fn a_new_name_is_sent_even_if_it_was_sent_before() {
    check(
        Sotw,
        "commit +eds:a +eds:b
         list eds a b       -> eds a b
         ack eds
         list eds b
         list eds a b       -> eds a",
    );
    check(
        Delta,
        "commit +eds:a
         sub eds a          -> eds +a
         ack eds
         sub eds a          -> eds +a
         ack eds
         unsub eds a
         sub eds a          -> eds +a",
    );
}

#[test]
fn a_name_dropped_under_a_wildcard_is_answered_by_delta() {
    check(
        Delta,
        "commit +cds:a
         sub cds * a gone   -> cds +a -gone
         ack cds
         unsub cds a        -> cds +a
         ack cds
         unsub cds gone     -> cds -gone",
    );
    check(
        Sotw,
        "commit +cds:a
         list cds * a       -> cds a
         ack cds
         list cds *",
    );
}

#[test]
fn an_unknown_name_is_silence_in_sotw_and_a_removal_in_delta_and_is_remembered() {
    check(
        Sotw,
        "commit +eds:x
         list eds a
         commit +eds:a      -> eds a",
    );
    check(
        Delta,
        "commit +eds:x
         sub eds a          -> eds -a
         ack eds
         commit +eds:a      -> eds +a",
    );
}

#[test]
fn absence_tells_a_sotw_client_that_a_cluster_does_not_exist() {
    check(
        Sotw,
        "commit +cds:a
         list cds a gone    -> cds a
         ack cds
         list cds a gone other  -> cds a",
    );
}

#[test]
fn a_phantom_unsubscribe_is_ignored() {
    check(
        Delta,
        "commit +eds:a +cds:c
         unsub eds a
         sub eds a          -> eds +a
         ack eds
         sub cds            -> cds +c
         ack cds
         unsub cds c",
    );
}

#[test]
fn a_name_in_both_lists_is_dropped() {
    use crate::{snapshot::Kind, xds::subscription::Subscription};
    let mut subscription = Subscription::new(Kind::Endpoint);
    let effect = subscription.change(vec!["a".into(), "b".into()], vec!["a".into()]);
    assert_eq!(effect.asked, ["b".into()]);
    assert!(!subscription.sees("a"));
}

// 3.3: versions and nonces

#[test]
fn a_stale_nonce_is_ignored_by_sotw_only_while_a_response_is_in_flight() {
    check(
        Sotw,
        "commit +eds:a +eds:b +eds:c
         list eds a         -> eds a
         ack eds
         commit +eds:a@2    -> eds a@2
         list eds a b
         ack eds            -> eds b
         ack eds
         list eds a b c #77 -> eds c",
    );
}

#[test]
fn delta_never_rejects_on_a_nonce() {
    check(
        Delta,
        "commit +eds:a +eds:b
         sub eds a          -> eds +a
         sub eds b #77
         ack eds            -> eds +b
         ack eds
         nack eds #1
         commit +eds:a@2    -> eds +a@2",
    );
}

#[test]
fn a_refusal_is_told_by_its_error_not_by_versions() {
    check(
        Sotw,
        "commit +eds:a
         list eds a ^other  -> eds a
         ack eds ^other
         commit +eds:a@2    -> eds a@2
         nack eds ^current
         commit +eds:a@3    -> eds a@3",
    );
}

#[test]
fn a_sotw_client_that_reconnects_with_the_current_version_of_all_is_not_answered() {
    check(
        Sotw,
        "commit +cds:a +cds:b +eds:a
         list cds ^current
         list eds a ^current    -> eds a
         ack eds
         commit +cds:b@2    -> cds a b@2",
    );
}

#[test]
fn a_sotw_client_that_reconnects_with_another_version_is_answered() {
    check(
        Sotw,
        "commit +cds:a
         list cds ^0123456789abcdef -> cds a",
    );
}

// 3.4: acknowledgements

#[test]
fn a_refused_version_is_never_sent_again() {
    check(
        Delta,
        "commit +lds:a
         sub lds            -> lds +a
         nack lds
         commit +eds:x
         wait 60000
         commit +lds:a@2    -> lds +a@2
         nack lds
         commit +lds:a@3    -> lds +a@3
         ack lds",
    );
    check(
        Sotw,
        "commit +eds:a
         list eds a         -> eds a
         nack eds
         commit +cds:x
         wait 60000
         commit +eds:a@2    -> eds a@2",
    );
}

#[test]
fn one_response_a_type_is_in_flight_and_what_changes_meanwhile_is_merged() {
    check(
        Delta,
        "commit +eds:a +eds:b
         sub eds a b        -> eds +a +b
         commit +eds:a@2
         commit +eds:a@3
         commit +eds:b@2
         commit +eds:b
         ack eds            -> eds +a@3",
    );
    check(
        Sotw,
        "commit +cds:a
         list cds           -> cds a
         commit +cds:b
         commit +cds:c
         commit -cds:b
         ack cds            -> cds a c",
    );
}

#[test]
fn types_do_not_wait_for_each_other() {
    check(
        Delta,
        "commit +eds:a +sds:s
         sub eds a          -> eds +a
         sub sds s          -> sds +s",
    );
}

#[test]
fn an_unanswered_response_blocks_for_the_length_of_its_lease() {
    check(
        Delta,
        "commit +eds:a
         sub eds a          -> eds +a
         commit +eds:a@2
         wait 29999
         wait 1             -> eds +a@2
         nack eds #1
         ack eds",
    );
}

#[test]
fn an_answer_after_the_lease_still_counts() {
    check(
        Delta,
        "commit +eds:a +eds:b
         sub eds a b        -> eds +a +b
         wait 30000
         nack eds           -> eds +a
         commit +eds:a@2 +eds:b@2
         nack eds           -> eds +a@2",
    );
}

/// Envoy took neither table, and waits for both.
#[test]
fn fault_d01_what_was_refused_with_others_is_sent_again_alone() {
    check(
        Delta,
        "commit +rds:a +rds:b
         sub rds a b        -> rds +a +b
         nack rds           -> rds +a
         nack rds           -> rds +b
         ack rds
         wait 60000
         commit +rds:a@2    -> rds +a@2
         ack rds",
    );
    check(
        Sotw,
        "commit +rds:a +rds:b
         list rds a b       -> rds a b
         nack rds           -> rds a
         nack rds           -> rds b
         ack rds
         wait 60000
         commit +rds:a@2    -> rds a@2",
    );
    // What changed or is not wanted any more is not sent as it was.
    check(
        Delta,
        "commit +eds:a +eds:b
         sub eds a b        -> eds +a +b
         unsub eds b
         nack eds           -> eds +a
         ack eds",
    );
}

#[test]
fn after_a_refusal_each_change_is_sent_alone_until_one_is_accepted() {
    check(
        Delta,
        "commit +eds:a +eds:b +eds:c
         sub eds a b c      -> eds +a +b +c
         nack eds           -> eds +a
         commit +eds:a@2 +eds:b@2 +eds:c@2
         nack eds           -> eds +a@2
         nack eds           -> eds +b@2
         ack eds            -> eds +c@2
         ack eds
         commit +eds:a@3 +eds:b@3           -> eds +a@3 +b@3",
    );
}
