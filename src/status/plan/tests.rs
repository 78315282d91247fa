use super::*;
use crate::key::ObjectKind;

const PACE: Pace = Pace {
    interval: Duration::from_millis(100),
    burst: 3,
    first_retry: Duration::from_secs(1),
    last_retry: Duration::from_secs(60),
    event_window: Duration::from_secs(300),
    max_events: 4,
};

fn ingress(n: usize) -> Key {
    Key::Ingress(ObjectName::new("demo", &format!("web-{n}")))
}

fn event(n: usize) -> Key {
    let name = ObjectName::new("demo", &format!("web-{n}"));
    Key::Event(ObjectRef::fleet(ObjectKind::Ingress, name), Reason::InvalidPath)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Runs the queue until `until` and says when each key came, in milliseconds.
fn drain(queue: &mut Queue, start: Instant, until: Duration) -> Vec<(Key, u128)> {
    let mut now = start;
    let mut out = Vec::new();
    loop {
        match queue.next(now) {
            Next::Write(key) => {
                queue.spend(now);
                out.push((key, (now - start).as_millis()));
            }
            Next::Wait(at) if at <= start + until => now = at,
            Next::Wait(_) | Next::Idle => return out,
        }
    }
}

#[test]
fn a_key_waits_once_however_often_it_is_touched() {
    let (now, mut queue) = (Instant::now(), Queue::new(PACE));
    for _ in 0..1000 {
        queue.touch(ingress(1), now);
    }
    assert_eq!(queue.len(), 1);
    assert_eq!(drain(&mut queue, now, ms(10_000)), [(ingress(1), 0)]);
    assert_eq!(queue.next(now), Next::Idle);
    // Its turn is over: what comes now is new.
    queue.touch(ingress(1), now);
    assert_eq!(queue.len(), 1);
}

#[test]
fn fault_b07_writes_are_ten_a_second() {
    let (now, mut queue) = (Instant::now(), Queue::new(PACE));
    (0..1000).for_each(|n| queue.touch(ingress(n), now));
    let times: Vec<_> = drain(&mut queue, now, ms(60_000)).into_iter().map(|(_, at)| at).collect();
    assert_eq!(times[..6], [0, 0, 0, 100, 200, 300]);
    // The last of them has its turn when ten a second allow it.
    assert_eq!((times.len(), times.last()), (603, Some(&60_000)));
    // What is saved up in a pause is one burst.
    let later = now + ms(1_000_000);
    assert_eq!(drain(&mut queue, later, ms(0)).len(), 3);
}

#[test]
fn an_entry_without_a_request_costs_no_allowance() {
    let (now, mut queue) = (Instant::now(), Queue::new(PACE));
    (0..100).for_each(|n| queue.touch(ingress(n), now));
    for _ in 0..100 {
        assert!(matches!(queue.next(now), Next::Write(_)));
    }
    assert_eq!(queue.next(now), Next::Idle);
}

#[test]
fn fault_b07_failures_are_retried_later_and_later() {
    let (mut now, mut queue) = (Instant::now(), Queue::new(PACE));
    let mut delays = Vec::new();
    queue.touch(ingress(1), now);
    for _ in 0..10 {
        assert_eq!(queue.next(now), Next::Write(ingress(1)));
        queue.retry(ingress(1), Duration::ZERO, now);
        // News does not shorten the wait.
        queue.touch(ingress(1), now);
        let Next::Wait(at) = queue.next(now) else { panic!("waits") };
        delays.push((at - now).as_secs_f64());
        now = at;
    }
    for (n, delay) in delays.iter().enumerate() {
        let full = f64::from(1 << n).min(60.0);
        assert!((full * 0.5..=full * 1.5).contains(delay), "{n}: {delay}");
    }
    // After success it starts afresh.
    assert_eq!(queue.next(now), Next::Write(ingress(1)));
    queue.done(&ingress(1));
    queue.retry(ingress(1), Duration::ZERO, now);
    assert!(matches!(queue.next(now), Next::Wait(at) if at <= now + ms(1500)));
}

#[test]
fn a_server_that_names_a_delay_is_obeyed() {
    let (now, mut queue) = (Instant::now(), Queue::new(PACE));
    queue.retry(ingress(1), ms(30_000), now);
    assert_eq!(queue.next(now), Next::Wait(now + ms(30_000)));
}

#[test]
fn keys_that_failed_together_are_not_retried_together() {
    let (now, mut queue) = (Instant::now(), Queue::new(PACE));
    (0..100).for_each(|n| _ = queue.retry(ingress(n), Duration::ZERO, now));
    let times: BTreeSet<_> = queue.due.iter().map(|(at, _)| *at).collect();
    assert!(times.len() > 80, "{}", times.len());
}

#[test]
fn events_about_one_thing_are_five_minutes_apart() {
    let (now, mut queue) = (Instant::now(), Queue::new(PACE));
    queue.touch(event(1), now);
    assert_eq!(queue.next(now), Next::Write(event(1)));
    queue.event_written(event(1), now);
    queue.touch(event(1), now + ms(1000));
    queue.touch(event(2), now + ms(1000));
    assert_eq!(queue.next(now + ms(1000)), Next::Write(event(2)));
    assert_eq!(queue.next(now + ms(1000)), Next::Wait(now + PACE.event_window));
    // After the window nothing is remembered of it.
    queue.event_written(event(3), now + PACE.event_window * 2);
    assert_eq!(queue.written.len(), 1);
}

#[test]
fn events_that_wait_are_bounded_and_statuses_are_not_dropped_for_them() {
    let (now, mut queue) = (Instant::now(), Queue::new(PACE));
    (0..10).for_each(|n| queue.touch(event(n), now));
    (0..10).for_each(|n| queue.touch(ingress(n), now));
    assert_eq!((queue.len(), queue.dropped()), (14, 6));
    drain(&mut queue, now, ms(10_000));
    queue.touch(event(9), now);
    assert_eq!((queue.len(), queue.dropped()), (1, 6));
}

#[test]
fn a_cleared_queue_remembers_only_the_rate() {
    let (now, mut queue) = (Instant::now(), Queue::new(PACE));
    (0..10).for_each(|n| queue.touch(ingress(n), now));
    assert_eq!(drain(&mut queue, now, ms(0)).len(), 3);
    queue.clear();
    assert_eq!(queue.next(now), Next::Idle);
    queue.touch(ingress(1), now);
    assert_eq!(queue.next(now), Next::Wait(now + ms(100)));
}
