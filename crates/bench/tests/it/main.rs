//! The generator against a scripted server: what it counts is what was answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bench::load::{self, KeyOrder, Load, Pace, Stop};
use bench::redis_load::{RedisDialect, Work};
use bench::resp::{self, Value};

/// Answers every command with what `answer` says, `None` closes the connection. Lives as long as its clients.
fn server(answer: fn(&[Value]) -> Option<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: fn(&[Value]) -> Option<&'static [u8]>) {
    let mut input = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        input.extend_from_slice(&chunk[..n]);
        while let Ok(Some((command, used))) = resp::parse(&input) {
            input.drain(..used);
            let Some(reply) = answer(command.items()) else { return };
            if stream.write_all(reply).is_err() {
                return;
            }
        }
    }
}

fn a_load(address: SocketAddr) -> Load {
    Load {
        addresses: vec![address],
        connections: 3,
        pipeline: 4,
        pace: Pace::Closed,
        keys: 10,
        key_order: KeyOrder::Sequential,
        warm_up: Duration::ZERO,
        stop: Stop::Operations(100),
        pids: vec![std::process::id()],
        seed: 1,
    }
}

#[test]
fn every_answer_counts_once_and_refusals_are_named() {
    let address = server(|command| {
        let is_odd = command[1].text().is_some_and(|key| key.ends_with(['1', '3', '5', '7', '9']));
        Some(if is_odd { b"-ERR odd\r\n" } else { b"+OK\r\n" })
    });
    let outcome = load::run(&a_load(address), |_| RedisDialect::new(Work::Set, 8)).unwrap();
    assert!((100..=112).contains(&outcome.operations), "{outcome:?}");
    let half = outcome.operations as f64 / 2.0;
    assert!((outcome.errors as f64 - half).abs() <= 6.0, "{outcome:?}");
    assert!(outcome.rate() > 0.0);
}

#[test]
fn latency_is_what_the_client_waited() {
    let address = server(|_| {
        thread::sleep(Duration::from_millis(5));
        Some(b"$-1\r\n")
    });
    let load = Load { pipeline: 1, connections: 1, stop: Stop::Operations(10), ..a_load(address) };
    let outcome = load::run(&load, |_| RedisDialect::new(Work::Get, 0)).unwrap();
    assert!(outcome.latency_p50 >= Duration::from_millis(5), "{outcome:?}");
    assert!(outcome.latency_max >= outcome.latency_p99);
}

#[test]
fn a_server_that_hangs_up_ends_the_run_with_an_error() {
    let address = server(|_| None);
    let error = load::run(&a_load(address), |_| RedisDialect::new(Work::Set, 8)).unwrap_err();
    assert!(error.to_string().contains("closed") || error.raw_os_error().is_some(), "{error}");
}

#[test]
fn a_server_that_speaks_something_else_ends_the_run_with_an_error() {
    let address = server(|_| Some(b"HTTP/1.1 400 Bad Request\r\n"));
    let error = load::run(&a_load(address), |_| RedisDialect::new(Work::Set, 8)).unwrap_err();
    assert!(error.to_string().contains("not a reply"), "{error}");
}
