//! Waiting, on a clock that stands still until everything waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::poll_immediate;
use plugin_api::ErrorKind;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    change::{Patience, Rest},
    router::{Attempt, Place, ReplicaSettings, Router, RouterSettings, Wanted},
};
use crate::config::{Concurrency, Route};

fn router(replicas: usize, each: u32, change: impl FnOnce(&mut RouterSettings)) -> Arc<Router> {
    let mut settings = RouterSettings {
        replicas: (0..replicas)
            .map(|index| ReplicaSettings { name: format!("replica-{index}"), weight: 1 })
            .collect(),
        concurrency: Concurrency { auto: false, floor: 1, ceiling: each },
        route: Route::LeastInFlight,
        eject_after: 5,
        rpm: None,
        tpm: None,
    };
    change(&mut settings);
    Router::with_random(settings, fastrand::Rng::with_seed(5))
}

fn ended(result: Result<u64, ErrorKind>) -> Attempt<'static> {
    Attempt { result, took: Duration::from_millis(10), retry_after: None, limits: None }
}

#[tokio::test(start_paused = true)]
async fn where_every_place_is_taken_weights_still_say_who_has_how_many() {
    let router = router(3, 6, |settings| {
        for (replica, weight) in settings.replicas.iter_mut().zip([3, 1, 2]) {
            replica.weight = weight;
        }
    });
    assert_eq!(router.ceiling(), 6 + 2 + 4);
    let mut places = Vec::new();
    while places.len() < router.ceiling() {
        places.push(router.place(Wanted::default()).await);
    }
    let in_flight: Vec<u32> = router.snapshot().iter().map(|one| one.in_flight).collect();
    assert_eq!(in_flight, [6, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn places_are_given_in_the_order_in_which_they_were_asked_for() {
    let router = router(1, 1, |_| {});
    let first = router.place(Wanted::default()).await;
    let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(router.place(Wanted::default()))).collect();
    for waiter in &mut waiting {
        assert!(poll_immediate(waiter.as_mut()).await.is_none());
    }
    let mut place = first;
    for index in 0..5 {
        place.done(&ended(Ok(1)));
        for later in &mut waiting[index + 1..] {
            assert!(poll_immediate(later.as_mut()).await.is_none());
        }
        place = waiting[index].as_mut().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_leaves_no_trace() {
    let router = router(1, 1, |settings| settings.rpm = Some(60));
    let held = router.place(Wanted::default()).await;
    sleep(Duration::from_secs(5)).await;
    let mut first = Box::pin(router.place(Wanted::default()));
    let mut second = Box::pin(router.place(Wanted::default()));
    assert!(poll_immediate(first.as_mut()).await.is_none());
    assert!(poll_immediate(second.as_mut()).await.is_none());
    // The first was already given its place when it gives up; neither place nor rate is lost.
    held.done(&ended(Ok(1)));
    drop(first);
    let started = Instant::now();
    drop(second.await);
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!((router.waiting(), router.snapshot()[0].in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_in_the_middle_that_gives_up_does_not_hold_up_the_others() {
    let router = router(1, 1, |_| {});
    let held = router.place(Wanted::default()).await;
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(router.place(Wanted::default()))).collect();
    for waiter in &mut waiting {
        assert!(poll_immediate(waiter.as_mut()).await.is_none());
    }
    drop(waiting.remove(1));
    drop(held);
    drop(waiting[0].as_mut().await);
    drop(waiting[1].as_mut().await);
    assert_eq!(router.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn requests_a_minute_are_kept_to_by_the_clock() {
    let router = router(1, 100, |settings| settings.rpm = Some(120));
    let started = Instant::now();
    let mut asked = JoinSet::new();
    for _ in 0..122 {
        let router = Arc::clone(&router);
        asked.spawn(async move { router.place(Wanted::default()).await.done(&ended(Ok(1))) });
    }
    asked.join_all().await;
    // Two at once, then one each half second; timers are as fine as milliseconds.
    let took = started.elapsed();
    assert!((Duration::from_secs(60)..Duration::from_secs(61)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_is_asked_for_ends_by_itself() {
    let router = router(1, 4, |_| {});
    let refused =
        Attempt { retry_after: Some(Duration::from_secs(3)), ..ended(Err(ErrorKind::RateLimited)) };
    router.place(Wanted::default()).await.done(&refused);
    let started = Instant::now();
    router.place(Wanted::default()).await.done(&ended(Ok(1)));
    assert_eq!(started.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn who_has_no_time_for_a_rest_is_told_at_once_and_the_others_wait() {
    let router = router(1, 2, |_| {});
    let asks = Duration::from_secs(3600);
    let held = [router.place(Wanted::default()).await, router.place(Wanted::default()).await];
    let within = |seconds| {
        let refused = Duration::from_secs(seconds);
        let patience = Patience { refused, loading: refused };
        Box::pin(router.place_within(Wanted::default(), patience))
    };
    let mut waiting = [within(900), within(4000), within(900), within(3599)];
    for one in &mut waiting {
        assert!(poll_immediate(one).await.is_none());
    }
    let refused = Attempt { retry_after: Some(asks), ..ended(Err(ErrorKind::RateLimited)) };
    held.into_iter().for_each(|place| place.done(&refused));
    let started = Instant::now();
    let [first, second, third, last] = waiting;
    let rest = Rest { kind: ErrorKind::RateLimited, left: asks };
    assert_eq!(first.await.map(drop), Err(rest));
    // Who waits for it keeps its place in the line, so that those behind learn of it only then.
    let second = second.await.map(|place| place.done(&ended(Ok(1))));
    assert_eq!((second, started.elapsed()), (Ok(()), asks));
    assert!(third.await.is_ok() && last.await.is_ok());
    // Nobody has to have been in line before.
    router.place(Wanted::default()).await.done(&refused);
    assert_eq!(within(900).await.map(drop), Err(rest));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_probe_of_a_lone_server_holds_nobody_up_for_long() {
    let router = router(1, 16, |settings| settings.eject_after = 1);
    router.place(Wanted::default()).await.done(&ended(Err(ErrorKind::Transport)));
    let started = Instant::now();
    let mut out: Vec<Place> = Vec::new();
    for _ in 0..16 {
        out.push(router.place(Wanted::default()).await);
    }
    assert!(out.iter().all(Place::is_probe));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// Samples that ask until they are answered, at servers with faults. Returns how long all took.
async fn faulty(router: &Arc<Router>, samples: usize, at_once: usize, seed: u64) -> Duration {
    let started = Instant::now();
    let left = Arc::new(AtomicUsize::new(samples));
    let in_flight = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    for worker in 0..at_once as u64 {
        let (router, left, in_flight) =
            (Arc::clone(router), Arc::clone(&left), Arc::clone(&in_flight));
        let mut random = fastrand::Rng::with_seed(seed * 1000 + worker);
        running.spawn(async move {
            let take = |left: usize| left.checked_sub(1);
            while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                let mut avoid = None;
                loop {
                    let wanted = Wanted { prefix: random.u64(0..9), tokens: 1, avoid };
                    let patience = Duration::from_millis(random.u64(1..2000));
                    // Some lose patience while they wait, and come again.
                    let Ok(place) = timeout(patience, router.place(wanted)).await else { continue };
                    let now = in_flight.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(now <= router.ceiling());
                    let took = Duration::from_millis(random.u64(1..100));
                    sleep(took).await;
                    in_flight.fetch_sub(1, Ordering::SeqCst);
                    avoid = Some(place.replica());
                    let result = match random.u8(0..20) {
                        0 => Err(ErrorKind::RateLimited),
                        1 => Err(ErrorKind::Overloaded),
                        2 | 3 => Err(ErrorKind::Transport),
                        4 => Err(ErrorKind::Timeout),
                        5 => {
                            drop(place);
                            continue;
                        }
                        _ => Ok(1),
                    };
                    let retry_after = result.is_err().then_some(Duration::from_millis(500));
                    place.done(&Attempt { result, took, retry_after, limits: None });
                    if result.is_ok() {
                        break;
                    }
                }
            }
        });
    }
    while let Some(worker) = running.join_next().await {
        worker.unwrap();
    }
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn under_faults_and_impatience_everybody_is_served_and_nothing_is_left_behind() {
    for (seed, replicas, each, route) in [
        (1, 1, 1, Route::LeastInFlight),
        (2, 1, 8, Route::RoundRobin),
        (3, 3, 4, Route::Prefix),
        (4, 4, 8, Route::LeastInFlight),
        (5, 2, 16, Route::RoundRobin),
    ] {
        let router = router(replicas, each, |settings| settings.route = route);
        let samples = 200 * replicas * each as usize;
        let run = faulty(&router, samples, 2 * router.ceiling(), seed);
        // Without faults it would take ten seconds.
        let took = timeout(Duration::from_secs(600), run).await;
        assert!(took.is_ok(), "{route:?}: somebody waits for ever: {:?}", router.snapshot());
        assert_eq!(router.waiting(), 0);
        assert!(router.snapshot().iter().all(|replica| replica.in_flight == 0));
    }
}

#[test]
fn many_threads_at_one_door_are_all_served() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let router = runtime.block_on(async { router(2, 2, |_| {}) });
    let served = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            let router = Arc::clone(&router);
            tasks.spawn(async move {
                for turn in 0..200_u32 {
                    let place = router.place(Wanted::default()).await;
                    tokio::task::yield_now().await;
                    match turn % 3 {
                        0 => drop(place),
                        _ => place.done(&ended(Ok(1))),
                    }
                }
            });
        }
        timeout(Duration::from_secs(60), tasks.join_all()).await.map(|all| all.len())
    });
    assert_eq!(served, Ok(64));
}
