//! Every row of xds.md 3.2 to 3.9, in both variants, as scripts.

mod property;
mod script;

use std::time::Duration;

use crate::{
    settings::{Mechanisms, Timings},
    xds::request::Variant::{Delta, Sotw},
};
use script::{check, check_with};

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
         nack eds
         commit +eds:a@2 +eds:b@2   -> eds +a@2",
    );
}

#[test]
fn after_a_refusal_each_change_is_sent_alone_until_one_is_accepted() {
    check(
        Delta,
        "commit +eds:a +eds:b +eds:c
         sub eds a b c      -> eds +a +b +c
         nack eds
         commit +eds:a@2 +eds:b@2 +eds:c@2  -> eds +a@2
         nack eds           -> eds +b@2
         ack eds            -> eds +c@2
         ack eds
         commit +eds:a@3 +eds:b@3           -> eds +a@3 +b@3",
    );
}

// 3.5: gates

#[test]
fn routes_wait_until_a_new_cluster_has_its_endpoints() {
    check(
        Delta,
        "commit +rds:r +lds:l
         sub cds                -> cds
         ack cds
         sub lds                -> lds +l
         ack lds
         sub rds r              -> rds +r
         ack rds
         commit +cds:a +eds:a +rds:r@2  -> cds +a
         ack cds
         sub eds a              -> eds +a
         ack eds                -> rds +r@2",
    );
    check(
        Sotw,
        "commit +rds:r +lds:l
         list cds               -> cds
         ack cds
         list lds               -> lds l
         ack lds
         list rds r             -> rds r
         ack rds
         commit +cds:a +eds:a +rds:r@2  -> cds a
         ack cds
         list eds a             -> eds a
         ack eds                -> rds r@2",
    );
}

#[test]
fn routes_do_not_wait_for_a_cluster_that_only_changed() {
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         ack cds
         sub eds a              -> eds +a
         ack eds
         sub rds r              -> rds +r
         ack rds
         commit +cds:a@2 +rds:r@2   -> cds +a@2; eds +a; rds +r@2",
    );
}

#[test]
fn routes_wait_no_longer_than_the_warm_timeout_after_the_acknowledgement() {
    check(
        Delta,
        "commit +cds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         wait 10000
         ack cds
         wait 1999
         wait 1                 -> rds +r",
    );
    check(
        Sotw,
        "commit +cds:a +rds:r
         list cds               -> cds a
         list rds r
         wait 10000
         nack cds
         wait 1999
         wait 1                 -> rds r",
    );
}

#[test]
fn an_unanswered_cluster_starts_the_warm_timeout_when_its_lease_ends() {
    check(
        Delta,
        "commit +cds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         wait 30000
         wait 1999
         wait 1                 -> rds +r",
    );
}

#[test]
fn endpoints_on_their_way_stop_the_warm_timeout() {
    // A busy Envoy takes its time; routes to a cluster that is still empty would cost requests.
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         ack cds
         sub eds a              -> eds +a
         wait 10000
         ack eds                -> rds +r",
    );
    // One that never answers for them holds the routes for a lease and a timeout.
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         ack cds
         sub eds a              -> eds +a
         wait 30000
         wait 1999
         wait 1                 -> rds +r",
    );
}

#[test]
fn refused_endpoints_do_not_open_the_gate() {
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         ack cds
         sub eds a              -> eds +a
         nack eds
         wait 2000              -> rds +r",
    );
}

#[test]
fn routes_wait_for_the_secrets_of_a_new_cluster() {
    check(
        Delta,
        "commit +cds:a(eds:a,sds:s) +eds:a +sds:s +rds:r
         sub cds                -> cds +a
         sub rds r
         ack cds
         sub eds a              -> eds +a
         ack eds
         sub sds s              -> sds +s
         ack sds                -> rds +r
         ack rds
         commit +cds:b(sds:s) +rds:r@2  -> cds +b
         ack cds                -> rds +r@2",
    );
}

#[test]
fn routes_wait_for_the_parts_of_a_composite_cluster() {
    check(
        Delta,
        "commit +cds:any(cds:a,cds:a/m) +cds:a +cds:a/m(eds:m) +eds:a +eds:m +rds:r
         sub cds                -> cds +a +a/m +any
         sub rds r
         sub eds a              -> eds +a
         ack cds
         ack eds
         sub eds m              -> eds +m
         ack eds                -> rds +r",
    );
}

#[test]
fn endpoints_sent_before_their_cluster_do_not_open_the_gate() {
    check(
        Delta,
        "commit +eds:a +rds:r +cds:z(sds:z)
         sub eds a              -> eds +a
         sub cds                -> cds +z
         sub rds r
         ack cds
         wait 2000              -> rds +r
         ack rds
         commit +cds:a +rds:r@2 -> cds +a
         ack cds
         ack eds                -> eds +a
         ack eds                -> rds +r@2",
    );
}

#[test]
fn a_steady_flow_of_new_clusters_delays_routes_by_one_warm_up() {
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         commit +cds:b +eds:b +rds:r@2
         ack cds                -> cds +b
         sub eds a              -> eds +a
         ack eds                -> rds +r
         ack rds
         commit +cds:c +eds:c +rds:r@3
         sub eds b              -> eds +b
         ack cds                -> cds +c
         ack eds                -> rds +r@2
         ack rds
         sub eds c              -> eds +c
         ack cds
         ack eds                -> rds +r@3",
    );
}

#[test]
fn the_endpoints_that_waiting_routes_need_are_sent_though_the_newest_view_lacks_them() {
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         commit -cds:a -eds:a +cds:b +eds:b +rds:r@2
         ack cds                -> cds +b
         sub eds a              -> eds +a
         ack eds                -> rds +r
         ack rds
         sub eds a b            -> eds +a +b
         ack cds
         ack eds                -> rds +r@2
         ack rds                -> cds -a",
    );
}

#[test]
fn a_cluster_that_was_sent_gets_its_endpoints_although_no_routes_will_name_it() {
    check(
        Sotw,
        "commit +cds:a +eds:a +cds:x +eds:x +rds:r
         list cds               -> cds a x
         list eds a x           -> eds a x
         list rds r
         ack eds
         ack cds                -> rds r
         ack rds
         commit -cds:x -eds:x +rds:r@2  -> rds r@2
         ack rds                -> cds a
         commit +cds:d +eds:d
         commit +cds:e +eds:e
         ack cds                -> cds a d e
         commit -cds:e -eds:e
         list eds a d e         -> eds d e",
    );
}

#[test]
fn a_pinned_view_is_given_up_when_its_cluster_will_never_be_sent() {
    check(
        Delta,
        "commit +cds:a(sds:s) +rds:r
         sub cds                -> cds +a
         ack cds
         sub rds r
         wait 2000              -> rds +r
         ack rds
         commit +cds:a@2(sds:s) -> cds +a@2
         commit +cds:b(sds:s) +rds:r@2
         commit -cds:b +rds:r@3 -> rds +r@3",
    );
}

#[test]
fn what_is_gone_when_the_gate_opens_is_not_sent() {
    check(
        Sotw,
        "commit +lds:l +lds:m
         list cds               -> cds
         commit -lds:l +cds:a
         list lds               -> lds m",
    );
}

#[test]
fn a_removal_waits_until_the_routes_are_acknowledged() {
    check(
        Delta,
        "commit +cds:a(sds:s) +cds:b(sds:s) +lds:l +rds:r
         sub cds                -> cds +a +b
         ack cds
         wait 2000
         sub lds                -> lds +l
         ack lds
         sub rds r              -> rds +r
         ack rds
         commit -cds:a +rds:r@2 -> rds +r@2
         ack rds                -> cds -a
         ack cds",
    );
    check(
        Sotw,
        "commit +cds:a(sds:s) +cds:b(sds:s) +lds:l +rds:r
         list cds               -> cds a b
         ack cds
         wait 2000
         list lds               -> lds l
         ack lds
         list rds r             -> rds r
         ack rds
         commit -cds:a +rds:r@2 -> rds r@2
         commit +cds:b@2        -> cds a b@2
         ack cds
         ack rds                -> cds b@2
         ack cds",
    );
}

#[test]
fn a_removal_waits_without_a_timer_while_routes_are_refused_or_unanswered() {
    check(
        Delta,
        "commit +cds:a(sds:s) +rds:r
         sub cds                -> cds +a
         ack cds
         wait 2000
         sub rds r              -> rds +r
         ack rds
         commit -cds:a +rds:r@2 -> rds +r@2
         wait 100000
         nack rds
         wait 100000
         commit +rds:r@3        -> rds +r@3
         ack rds                -> cds -a",
    );
}

#[test]
fn a_sotw_client_that_accepts_a_list_accepts_what_it_refused_before() {
    check(
        Sotw,
        "commit +cds:a(sds:s) +lds:l
         list cds               -> cds a
         ack cds
         wait 2000
         list lds               -> lds l
         nack lds
         commit -cds:a
         wait 100000
         commit +lds:m          -> lds l m
         ack lds                -> cds",
    );
}

#[test]
fn a_held_cluster_that_was_listed_at_a_newer_version_is_known_at_that_version() {
    check(
        Sotw,
        "commit +cds:c@2 +rds:r
         list cds ^other        -> cds c@2
         commit +cds:c
         commit -cds:c +cds:a
         ack cds                -> cds a c
         ack cds
         commit +cds:c@2        -> cds a c@2",
    );
}

#[test]
fn a_removal_waits_for_the_drain_timeout_if_routes_are_only_pending() {
    check(
        Delta,
        "commit +cds:a +eds:x
         sub cds ^a ^gone
         wait 29999
         wait 1                 -> cds -gone",
    );
}

#[test]
fn a_cluster_that_comes_back_is_not_removed() {
    check(
        Delta,
        "commit +cds:a(sds:s) +rds:r
         sub cds                -> cds +a
         ack cds
         wait 2000
         sub rds r              -> rds +r
         ack rds
         commit -cds:a +rds:r@2 -> rds +r@2
         commit +cds:a(sds:s)
         ack rds
         wait 100000",
    );
}

#[test]
fn routes_that_change_all_the_time_do_not_hold_a_removal_for_ever() {
    check(
        Delta,
        "commit +cds:a(sds:s) +rds:r
         sub cds                -> cds +a
         ack cds
         wait 2000
         sub rds r              -> rds +r
         ack rds
         commit -cds:a +rds:r@2 -> rds +r@2
         commit +rds:r@3
         ack rds                -> rds +r@3; cds -a",
    );
}

#[test]
fn a_removal_that_the_stream_missed_is_held_as_well() {
    let misses = "miss +eds:z\n miss -eds:z\n".repeat(20);
    check(
        Sotw,
        &format!(
            "commit +cds:a(sds:s) +cds:b(sds:s) +rds:r
             list cds               -> cds a b
             ack cds
             wait 2000
             list rds r             -> rds r
             ack rds
             {misses}
             commit -cds:a +cds:b@2 +rds:r@2    -> cds a b@2; rds r@2
             ack cds
             ack rds                -> cds b@2"
        ),
    );
}

#[test]
fn a_gateway_that_is_made_again_begins_its_revisions_anew() {
    check(
        Delta,
        "commit +cds:a(sds:s) +rds:r
         sub cds                -> cds +a
         ack cds
         wait 2000
         sub rds r              -> rds +r
         ack rds
         commit +rds:r@2        -> rds +r@2
         ack rds
         anew
         miss +cds:b(sds:s)
         commit +rds:r@3        -> cds +b
         ack cds
         wait 2000              -> rds +r@3
         ack rds                -> cds -a",
    );
}

#[test]
fn endpoints_follow_their_cluster_even_if_unchanged() {
    check(
        Delta,
        "commit +cds:a +eds:a
         sub cds                -> cds +a
         ack cds
         sub eds a              -> eds +a
         ack eds
         commit +cds:a@2        -> cds +a@2; eds +a",
    );
    check(
        Sotw,
        "commit +cds:a +eds:a +cds:b +eds:b
         list cds               -> cds a b
         ack cds
         list eds a b           -> eds a b
         ack eds
         commit +cds:a@2        -> cds a@2 b; eds a",
    );
}

#[test]
fn a_cluster_that_changed_before_its_endpoints_were_subscribed_is_followed_later() {
    check(
        Delta,
        "commit +cds:a@2 +eds:a
         sub cds ^a             -> cds +a@2
         sub eds a ^a           -> eds +a",
    );
}

#[test]
fn one_flush_is_in_order() {
    check(
        Delta,
        "sub rds r
         sub lds
         sub eds a
         sub cds
         sub sds s
         commit +cds:a +eds:a +lds:l +rds:r +sds:s  -> sds +s; cds +a; eds +a
         ack cds
         ack eds                                    -> lds +l; rds +r",
    );
}

const PLAIN: Mechanisms = Mechanisms { gates: false, ..Mechanisms::ALL };

#[test]
fn without_gates_everything_leaves_at_once_and_in_order() {
    check_with(
        Delta,
        PLAIN,
        Timings::PRODUCTION,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r              -> rds +r
         ack cds
         ack rds
         sub eds a              -> eds +a
         ack eds
         commit +cds:a@2 +rds:r@2   -> cds +a@2; rds +r@2
         ack rds
         ack cds
         commit -cds:a +rds:r@3 -> rds +r@3; cds -a",
    );
}

#[test]
fn endpoints_can_be_delayed_without_delaying_other_types() {
    let timings = Timings { endpoint_delay: Duration::from_millis(500), ..Timings::PRODUCTION };
    for (variant, verb, plus) in [(Delta, "sub", "+"), (Sotw, "list", "")] {
        check_with(
            variant,
            Mechanisms::ALL,
            timings,
            &format!(
                "commit +cds:a +eds:a +rds:r +sds:s
                 {verb} cds                -> cds {plus}a
                 {verb} rds r
                 ack cds
                 {verb} eds a
                 {verb} sds s              -> sds {plus}s
                 wait 499
                 wait 1                    -> eds {plus}a
                 ack eds                   -> rds {plus}r
                 ack rds
                 commit +eds:a@2
                 wait 500                  -> eds {plus}a@2"
            ),
        );
    }
}

// 3.8: removals

#[test]
fn a_listener_is_removed_at_once() {
    check(
        Delta,
        "commit +lds:a +lds:b
         sub lds                -> lds +a +b
         ack lds
         commit -lds:a          -> lds -a",
    );
    check(
        Sotw,
        "commit +lds:a +lds:b
         list lds               -> lds a b
         ack lds
         commit -lds:a          -> lds b
         ack lds
         commit -lds:b          -> lds",
    );
}

#[test]
fn endpoints_routes_and_secrets_are_never_removed() {
    for kind in ["eds", "rds", "sds"] {
        check(
            Delta,
            &format!(
                "commit +{kind}:a
                 sub {kind} a           -> {kind} +a
                 ack {kind}
                 commit -{kind}:a
                 commit +{kind}:a
                 commit +{kind}:a@2     -> {kind} +a@2"
            ),
        );
        check(
            Sotw,
            &format!(
                "commit +{kind}:a +{kind}:b
                 list {kind} a b        -> {kind} a b
                 ack {kind}
                 commit -{kind}:a
                 commit +{kind}:b@2     -> {kind} b@2"
            ),
        );
    }
}

// 3.9: reconnecting

#[test]
fn what_a_reconnecting_client_holds_is_not_sent_again() {
    check(
        Delta,
        "commit +cds:a +cds:b +eds:a +eds:b +lds:l +rds:r
         sub cds ^a ^b
         sub eds a b ^a ^b
         sub lds ^l
         sub rds r ^r
         commit +eds:b@2        -> eds +b@2",
    );
}

#[test]
fn fault_d2_only_the_differences_are_sent_after_a_reconnect() {
    check(
        Delta,
        "commit +cds:a@2 +cds:b +cds:c(sds:s) +eds:a +eds:b@2 +lds:l +rds:r@2
         sub cds ^a ^b ^gone    -> cds +a@2 +c
         sub eds a b old ^a ^b ^old -> eds +a +b@2 -old
         ack cds
         ack eds
         sub lds ^l ^m
         sub rds r ^r
         wait 2000              -> lds -m; rds +r@2
         ack lds
         ack rds                -> cds -gone",
    );
}

#[test]
fn a_version_that_was_never_ours_is_replaced() {
    check(
        Delta,
        "commit +cds:a
         sub cds ^a@9           -> cds +a",
    );
}

#[test]
fn only_the_first_request_of_a_type_is_believed() {
    check(
        Delta,
        "commit +eds:a
         sub eds a ^a
         sub eds a              -> eds +a",
    );
}

#[test]
fn fault_d11_a_stream_that_died_before_the_routes_resumes_with_them() {
    check(
        Delta,
        "commit +cds:new +eds:new +lds:l +rds:r@2
         sub cds ^new ^old
         sub eds new ^new
         sub lds ^l
         sub rds r ^r           -> rds +r@2
         ack rds                -> cds -old",
    );
}

// Sizes

#[test]
fn a_response_carries_a_thousand_resources_at_most() {
    let commit = |n: u32| -> String { (0..n).map(|i| format!(" +eds:e{i:04}")).collect() };
    let names =
        |from: u32, to: u32| -> String { (from..to).map(|i| format!(" +e{i:04}")).collect() };
    let all: String = (0..1_500).map(|i| format!(" e{i:04}")).collect();
    check(
        Delta,
        &format!(
            "commit{}
             sub eds{all}   -> eds{}
             ack eds        -> eds{}
             ack eds",
            commit(1_500),
            names(0, 1_000),
            names(1_000, 1_500),
        ),
    );
}
