//! Each fault of the proxy, seen from both ends with plain blocking sockets.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use reconvene_sim::proxy::{CHUNK_BYTES_MAX, CHUNKS_QUEUED_MAX};
use reconvene_sim::{Direction, Proxy};

/// Upper bound of every wait: reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test looks at a socket on which nothing may arrive.
const GLANCE: Duration = Duration::from_millis(50);

/// A proxy with one connection through it: `near` connected to the proxy, `far` was accepted by the target.
struct Bench {
    target: TcpListener,
    proxy: Proxy,
    near: TcpStream,
    far: TcpStream,
}

impl Bench {
    fn new() -> Self {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(target.local_addr().unwrap()).unwrap();
        let (near, far) = connect(&proxy, &target);
        Self { target, proxy, near, far }
    }

    /// The ends in the order in which bytes of `direction` pass them: writing end, reading end.
    fn ends(&mut self, direction: Direction) -> (&mut TcpStream, &mut TcpStream) {
        match direction {
            Direction::Up => (&mut self.near, &mut self.far),
            Direction::Down => (&mut self.far, &mut self.near),
        }
    }

    /// Sends a few bytes in `direction` and expects them on the other side.
    fn expect_passes(&mut self, direction: Direction, bytes: &[u8]) {
        let (from, to) = self.ends(direction);
        from.write_all(bytes).unwrap();
        let mut heard = vec![0; bytes.len()];
        to.read_exact(&mut heard).unwrap();
        assert_eq!(heard, bytes);
    }
}

fn connect(proxy: &Proxy, target: &TcpListener) -> (TcpStream, TcpStream) {
    let near = TcpStream::connect(proxy.address()).unwrap();
    let (far, _) = target.accept().unwrap();
    for end in [&near, &far] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (near, far)
}

fn expect_silence(end: &mut TcpStream) {
    end.set_read_timeout(Some(GLANCE)).unwrap();
    let error = end.read(&mut [0; 16]).expect_err("nothing may arrive, neither bytes nor an end");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    end.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// Reads until the end; gives what came and whether the end was a reset.
fn read_all(end: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut heard = Vec::new();
    match end.read_to_end(&mut heard) {
        Ok(_) => (heard, false),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (heard, true),
        Err(error) => panic!("neither an end nor a reset: {error}"),
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn passes_bytes_and_ends_in_both_directions() {
    let mut bench = Bench::new();
    bench.expect_passes(Direction::Up, b"there");
    bench.expect_passes(Direction::Down, b"and back");

    bench.near.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut bench.far), (vec![], false));
    bench.expect_passes(Direction::Down, b"the other half stays open");
    drop(bench.far);
    assert_eq!(read_all(&mut bench.near), (vec![], false));

    assert!(bench.proxy.handle().wait_for(PATIENCE, |counters| counters.open == 0));
    let counters = bench.proxy.handle().counters();
    assert_eq!((counters.connects, counters.bytes_up, counters.bytes_down), (1, 5, 33));
}

#[test]
fn large_streams_arrive_whole() {
    let Bench { proxy, near, mut far, .. } = Bench::new();
    let sent = pattern(3 * CHUNK_BYTES_MAX * CHUNKS_QUEUED_MAX + 7);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&near).write_all(&sent).and_then(|()| near.shutdown(std::net::Shutdown::Write)).unwrap()
        });
        let (heard, reset) = read_all(&mut far);
        assert!(!reset && heard == sent);
    });
    assert_eq!(proxy.handle().counters().bytes_up, sent.len() as u64);
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    let mut bench = Bench::new();
    bench.expect_passes(Direction::Up, b"x");
    // An end that is closed with unread bytes is reset by the system.
    bench.near.write_all(b"unread").unwrap();
    assert!(bench.proxy.handle().wait_for(PATIENCE, |counters| counters.bytes_up == 7));
    let mut first = [0; 1];
    bench.far.peek(&mut first).unwrap();
    drop(bench.far);
    assert!(read_all(&mut bench.near).1);
}

#[test]
fn cut_resets_both_ends_and_lets_new_ones_in() {
    let mut bench = Bench::new();
    bench.expect_passes(Direction::Up, b"before");
    bench.proxy.handle().cut();
    assert_eq!(bench.proxy.handle().counters().open, 0);
    assert_eq!(read_all(&mut bench.near), (vec![], true));
    assert_eq!(read_all(&mut bench.far), (vec![], true));

    (bench.near, bench.far) = connect(&bench.proxy, &bench.target);
    bench.expect_passes(Direction::Down, b"after");
    assert_eq!(bench.proxy.handle().counters().connects, 2);
}

#[test]
fn cut_reaches_connections_that_were_just_made() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(target.local_addr().unwrap()).unwrap();
    for round in 1..=50 {
        let mut near = TcpStream::connect(proxy.address()).unwrap();
        proxy.handle().cut();
        near.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(read_all(&mut near).1);
        assert_eq!(proxy.handle().counters().connects, round);
    }
}

#[test]
fn cut_after_lets_exactly_so_many_bytes_pass() {
    for (direction, limit) in [(Direction::Up, 100_000), (Direction::Down, 12), (Direction::Up, 0)] {
        let mut bench = Bench::new();
        bench.proxy.handle().cut_after(direction, limit);
        let sent = pattern(120_000);
        let (from, to) = bench.ends(direction);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The cut may fall into the write.
                let _ = from.write_all(&sent);
            });
            let (heard, reset) = read_all(to);
            assert!(reset);
            assert!(heard.len() as u64 <= limit && sent.starts_with(&heard));
        });
        assert!(bench.proxy.handle().wait_for(PATIENCE, |counters| counters.open == 0));
        let counters = bench.proxy.handle().counters();
        assert_eq!(counters.bytes_up + counters.bytes_down, limit);

        (bench.near, bench.far) = connect(&bench.proxy, &bench.target);
        bench.expect_passes(direction, &pattern(200_000)[..60_000]);
    }
}

#[test]
fn cut_after_counts_over_all_connections_and_can_be_armed_again() {
    let mut bench = Bench::new();
    let (mut second_near, mut second_far) = connect(&bench.proxy, &bench.target);
    bench.proxy.handle().cut_after(Direction::Up, 1);
    bench.proxy.handle().cut_after(Direction::Up, 8);
    bench.expect_passes(Direction::Up, b"four");
    second_near.write_all(b"fours").unwrap();
    assert!(read_all(&mut bench.far).1);
    let (heard, reset) = read_all(&mut second_far);
    assert!(reset && b"four".starts_with(&heard));
}

#[test]
fn a_cut_that_is_armed_as_soon_as_the_last_one_is_seen_comes() {
    let mut bench = Bench::new();
    let handle = bench.proxy.handle().clone();
    handle.cut_after(Direction::Up, 0);
    for _ in 0..100 {
        // The more connections there are, the longer the cut takes after the first of them was reset.
        let others: Vec<_> = (0..20).map(|_| connect(&bench.proxy, &bench.target)).collect();
        // The cut may fall into the write.
        let _ = bench.near.write_all(b"x");
        assert!(read_all(&mut bench.near).1);
        handle.cut_after(Direction::Up, 0);
        drop(others);
        (bench.near, bench.far) = connect(&bench.proxy, &bench.target);
    }
}

#[test]
fn refuse_refuses_and_keeps_what_is_open() {
    let mut bench = Bench::new();
    let handle = bench.proxy.handle().clone();
    for _ in 0..3 {
        handle.refuse(true).unwrap();
        handle.refuse(true).unwrap();
        let error = TcpStream::connect(handle.address()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        bench.expect_passes(Direction::Up, b"still here");
        handle.refuse(false).unwrap();
        (bench.near, bench.far) = connect(&bench.proxy, &bench.target);
    }
    assert_eq!(handle.counters().connects, 4);
}

#[test]
fn half_open_swallows_and_never_tells() {
    for direction in [Direction::Up, Direction::Down] {
        let mut bench = Bench::new();
        let handle = bench.proxy.handle().clone();
        handle.half_open(direction, true);
        bench.ends(direction).0.write_all(b"lost").unwrap();
        let swallowed = || handle.counters().swallowed_up + handle.counters().swallowed_down;
        assert!(handle.wait_for(PATIENCE, |counters| counters.swallowed_up + counters.swallowed_down == 4));
        bench.expect_passes(direction.opposite(), b"the other way is whole");

        // The end of the stream is hidden as well.
        bench.ends(direction).0.shutdown(std::net::Shutdown::Write).unwrap();
        expect_silence(bench.ends(direction).1);
        bench.expect_passes(direction.opposite(), b"and stays so");
        assert_eq!((swallowed(), handle.counters().open), (4, 1));

        // A stream with a hole cannot go on.
        handle.half_open(direction, false);
        assert!(read_all(bench.ends(direction).1).1);
        (bench.near, bench.far) = connect(&bench.proxy, &bench.target);
        bench.expect_passes(direction, b"healed");
    }
}

#[test]
fn half_open_hides_that_a_side_is_gone() {
    let mut bench = Bench::new();
    bench.proxy.handle().half_open(Direction::Up, true);
    drop(bench.near);
    expect_silence(&mut bench.far);
    // Nobody reads this any more; the far side learns nothing of it.
    bench.far.write_all(b"anyone?").unwrap();
    assert!(bench.proxy.handle().wait_for(PATIENCE, |counters| counters.bytes_down == 7));
    expect_silence(&mut bench.far);
    bench.far.write_all(b"hello?").unwrap();
    expect_silence(&mut bench.far);
    bench.proxy.handle().heal().unwrap();
    assert!(read_all(&mut bench.far).1);
}

#[test]
fn half_open_without_loss_heals_without_a_trace() {
    let mut bench = Bench::new();
    bench.expect_passes(Direction::Up, b"before");
    bench.proxy.handle().half_open(Direction::Up, true);
    bench.proxy.handle().half_open(Direction::Up, false);
    bench.expect_passes(Direction::Up, b"after");
    assert_eq!(bench.proxy.handle().counters().connects, 1);
}

#[test]
fn stall_holds_back_and_loses_nothing() {
    for direction in [Direction::Up, Direction::Down] {
        let mut bench = Bench::new();
        let handle = bench.proxy.handle().clone();
        handle.stall(direction, true);
        bench.ends(direction).0.write_all(b"later").unwrap();
        expect_silence(bench.ends(direction).1);
        bench.expect_passes(direction.opposite(), b"the other way is free");

        handle.stall(direction, false);
        let mut heard = [0; 5];
        bench.ends(direction).1.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"later");
    }
}

#[test]
fn a_stalled_connection_stops_taking_bytes() {
    let mut bench = Bench::new();
    bench.proxy.handle().stall(Direction::Up, true);
    bench.near.set_write_timeout(Some(GLANCE)).unwrap();
    let block = vec![7; 1024 * 1024];
    let mut taken = 0;
    // Far beyond the proxy's own buffers and what systems give to two sockets.
    while taken < 256 * block.len() {
        match bench.near.write(&block) {
            Ok(length) => taken += length,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                break;
            }
        }
    }
    assert!(taken < 256 * block.len(), "the proxy buffers without bound");
    assert_eq!(bench.proxy.handle().counters().bytes_up, 0);
}

#[test]
fn throttle_takes_its_time_and_can_be_lifted() {
    let mut bench = Bench::new();
    let handle = bench.proxy.handle().clone();
    handle.throttle(Direction::Down, 100_000);
    let started = Instant::now();
    bench.expect_passes(Direction::Down, &pattern(20_000));
    // 200 ms, less the first piece, which goes at once.
    assert!(started.elapsed() >= Duration::from_millis(170), "{:?}", started.elapsed());
    bench.expect_passes(Direction::Up, &pattern(50_000));

    // At one byte per second this would take days; lifting the limit must reach what already waits.
    handle.throttle(Direction::Down, 1);
    bench.far.write_all(&pattern(60_000)).unwrap();
    assert!(handle.wait_for(PATIENCE, |counters| counters.bytes_down > 20_000));
    handle.throttle(Direction::Down, 0);
    let mut heard = vec![0; 60_000];
    bench.near.read_exact(&mut heard).unwrap();
    assert_eq!(heard, pattern(60_000));
}

#[test]
fn delay_is_latency_and_can_be_lifted() {
    let mut bench = Bench::new();
    let handle = bench.proxy.handle().clone();
    handle.delay(Direction::Up, Duration::from_millis(60));
    let started = Instant::now();
    bench.expect_passes(Direction::Up, b"slow");
    assert!(started.elapsed() >= Duration::from_millis(60));

    handle.delay(Direction::Up, Duration::MAX);
    bench.near.write_all(b"waits").unwrap();
    expect_silence(&mut bench.far);
    bench.expect_passes(Direction::Down, b"not this way");
    handle.delay(Direction::Up, Duration::ZERO);
    let mut heard = [0; 5];
    bench.far.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"waits");
}

#[test]
fn heal_switches_everything_off() {
    let mut bench = Bench::new();
    let handle = bench.proxy.handle().clone();
    handle.refuse(true).unwrap();
    for direction in [Direction::Up, Direction::Down] {
        handle.stall(direction, true);
        handle.throttle(direction, 1);
        handle.delay(direction, Duration::from_secs(60));
        handle.cut_after(direction, 3);
    }
    handle.heal().unwrap();
    bench.expect_passes(Direction::Up, &pattern(30_000));
    bench.expect_passes(Direction::Down, &pattern(30_000));
    (bench.near, bench.far) = connect(&bench.proxy, &bench.target);
    bench.expect_passes(Direction::Up, b"let in");
}

#[test]
fn a_target_that_is_not_there_resets_and_can_be_replaced() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(gone).unwrap();
    let mut near = TcpStream::connect(proxy.address()).unwrap();
    assert!(read_all(&mut near).1);

    proxy.handle().set_target(target.local_addr().unwrap());
    let (near, far) = connect(&proxy, &target);
    Bench { target, proxy, near, far }.expect_passes(Direction::Up, b"moved");
}

#[test]
fn dropping_the_proxy_resets_frees_the_port_and_leaves_handles_harmless() {
    let Bench { proxy, mut near, mut far, .. } = Bench::new();
    let handle = proxy.handle().clone();
    drop(proxy);
    assert!(read_all(&mut near).1 && read_all(&mut far).1);
    assert_eq!(TcpStream::connect(handle.address()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    handle.cut();
    handle.refuse(false).unwrap();
    handle.heal().unwrap();
    assert_eq!(handle.counters().open, 0);
}

#[test]
fn wait_for_gives_up_and_handles_work_from_other_threads() {
    let bench = Bench::new();
    assert!(!bench.proxy.handle().wait_for(Duration::ZERO, |counters| counters.connects > 1));
    let handle = bench.proxy.handle().clone();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let handle = handle.clone();
            scope.spawn(move || (0..25).for_each(|_| handle.cut()));
        }
    });
    assert_eq!(handle.counters().open, 0);
}

#[test]
fn no_connection_carries_more_than_its_share() {
    for direction in [Direction::Up, Direction::Down] {
        let mut bench = Bench::new();
        bench.proxy.handle().cut_each_after(direction, 5);
        bench.expect_passes(direction, b"fives");
        bench.expect_passes(direction.opposite(), b"the other way is free");
        let (from, to) = bench.ends(direction);
        from.write_all(b"x").unwrap();
        assert_eq!(read_all(to), (vec![], true));
        // The next one has a share of its own, until the limit is lifted.
        (bench.near, bench.far) = connect(&bench.proxy, &bench.target);
        bench.expect_passes(direction, b"again");
        bench.proxy.handle().heal().unwrap();
        bench.expect_passes(direction, b"and more than that");
    }
}
