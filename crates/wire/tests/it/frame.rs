//! The reply decoder: what comes out is what went in, in pieces too; no depth, length or count can hurt it.

use proptest::prelude::*;
use wire::frame::{DEPTH_MAX, Frame, ReplyScanner, decode, downgrade, skip};
use wire::{Protocol, ProtocolError};

fn decoded(input: &[u8]) -> Frame {
    let (frame, len) = decode(input).unwrap().expect("a whole reply");
    assert_eq!(len, input.len());
    assert_eq!(skip(input), Ok(Some(len)));
    frame
}

fn bulk(text: &str) -> Frame {
    Frame::Bulk(text.into())
}

#[test]
fn every_form_of_reply_is_understood() {
    let table: Vec<(&[u8], Frame)> = vec![
        (b"+OK\r\n", Frame::Simple(b"OK".to_vec())),
        (b"-ERR no\r\n", Frame::Error(b"ERR no".to_vec())),
        (b"!6\r\nERR\r\nx\r\n", Frame::Error(b"ERR\r\nx".to_vec())),
        (b":-12\r\n", Frame::Integer(-12)),
        (b":+12\r\n", Frame::Integer(12)),
        (b"$3\r\na\r\n\r\n", Frame::Bulk(b"a\r\n".to_vec())),
        (b"$0\r\n\r\n", bulk("")),
        (b"$-1\r\n", Frame::Null),
        (b"*-1\r\n", Frame::Null),
        (b"_\r\n", Frame::Null),
        (b"#t\r\n", Frame::Boolean(true)),
        (b"#f\r\n", Frame::Boolean(false)),
        (b",1.5e-7\r\n", Frame::Double(1.5e-7)),
        (b",-inf\r\n", Frame::Double(f64::NEG_INFINITY)),
        (b"(-123456789012345678901\r\n", Frame::BigNumber(b"-123456789012345678901".to_vec())),
        (b"=6\r\ntxt:hi\r\n", Frame::Verbatim { format: *b"txt", text: b"hi".to_vec() }),
        (b"*0\r\n", Frame::Array(vec![])),
        (
            b"*2\r\n:1\r\n*1\r\n+a\r\n",
            Frame::Array(vec![Frame::Integer(1), Frame::Array(vec![Frame::Simple(b"a".to_vec())])]),
        ),
        (b"%1\r\n+k\r\n:1\r\n", Frame::Map(vec![(Frame::Simple(b"k".to_vec()), Frame::Integer(1))])),
        (b"~1\r\n$1\r\na\r\n", Frame::Set(vec![bulk("a")])),
        (b">1\r\n$1\r\na\r\n", Frame::Push(vec![bulk("a")])),
    ];
    for (input, frame) in table {
        assert_eq!(decoded(input), frame, "{}", input.escape_ascii());
    }
}

#[test]
fn attributes_are_left_out_wherever_they_stand() {
    assert_eq!(decoded(b"|1\r\n+ttl\r\n*1\r\n:5\r\n:7\r\n"), Frame::Integer(7));
    assert_eq!(
        decoded(b"*2\r\n|1\r\n+a\r\n%1\r\n+b\r\n+c\r\n:1\r\n|0\r\n:2\r\n"),
        Frame::Array(vec![Frame::Integer(1), Frame::Integer(2)])
    );
    let mut out = Vec::new();
    downgrade(b"*2\r\n|1\r\n+a\r\n%1\r\n+b\r\n+c\r\n:1\r\n|0\r\n:2\r\n", &mut out).unwrap();
    assert_eq!(out, b"*2\r\n:1\r\n:2\r\n");
}

#[test]
fn what_is_no_reply_is_refused() {
    for input in [
        &b"?\r\n"[..],
        b"PING\r\n",
        b"$01\r\na\r\n",
        b"$-2\r\n",
        b"$536870913\r\n",
        b"$?\r\n",
        b"*?\r\n",
        b"*-2\r\n",
        b"*4294967297\r\n",
        b"%-1\r\n",
        b"=3\r\ntxt\r\n",
        b"$1\r\nabc",
        b"+a\rb\r\n",
        b"+a\n",
        b"_x\r\n",
        b"#x\r\n",
        b":\r\n",
        b":+-1\r\n",
        b",abc\r\n",
        b"(12a\r\n",
        b"(\r\n",
    ] {
        assert!(decode(input).is_err(), "{}", input.escape_ascii());
        assert!(skip(input).is_err(), "{}", input.escape_ascii());
        let mut out = b"kept".to_vec();
        assert!(downgrade(input, &mut out).is_err());
        assert_eq!(out, b"kept");
    }
}

#[test]
fn depth_is_bounded_without_recursion() {
    let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
    drop(decoded(&nested(DEPTH_MAX)));
    assert_eq!(decode(&nested(DEPTH_MAX + 1)), Err(ProtocolError::TooDeep));
    assert_eq!(skip(&nested(DEPTH_MAX + 1)), Err(ProtocolError::TooDeep));
    assert_eq!(decode(&nested(5_000_000)), Err(ProtocolError::TooDeep));
}

#[test]
fn an_announced_length_allocates_nothing() {
    // Were room made at once, either would ask for more than any machine has.
    assert_eq!(decode(b"*4294967296\r\n:1\r\n"), Ok(None));
    assert_eq!(decode(&b"*4294967296\r\n".repeat(100)), Ok(None));
    assert_eq!(decode(b"$536870912\r\nabc"), Ok(None));
}

#[test]
fn resp3_replies_turn_into_what_a_resp2_client_would_have_got() {
    let table: &[(&[u8], &[u8])] = &[
        (b"_\r\n", b"$-1\r\n"),
        (b"#t\r\n", b":1\r\n"),
        (b",1e+20\r\n", b"$5\r\n1e+20\r\n"),
        (b"(12345678901234567890\r\n", b"$20\r\n12345678901234567890\r\n"),
        (b"=6\r\ntxt:hi\r\n", b"$2\r\nhi\r\n"),
        (b"!8\r\nERR a\r\nb\r\n", b"-ERR a  b\r\n"),
        (b"%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n#f\r\n", b"*4\r\n+a\r\n:1\r\n+b\r\n*1\r\n:0\r\n"),
        (b">1\r\n_\r\n", b"*1\r\n$-1\r\n"),
    ];
    for (resp3, resp2) in table {
        let mut out = b"before".to_vec();
        assert_eq!(downgrade(resp3, &mut out), Ok(resp3.len()), "{}", resp3.escape_ascii());
        assert_eq!(&out[6..], *resp2);
    }
    assert_eq!(downgrade(b"*2\r\n:1\r\n", &mut Vec::new()), Err(ProtocolError::Truncated));
}

fn frames() -> impl Strategy<Value = Frame> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let line = || "[ -~]{0,12}".prop_map(String::into_bytes);
    let leaf = prop_oneof![
        line().prop_map(Frame::Simple),
        line().prop_map(Frame::Error),
        any::<i64>().prop_map(Frame::Integer),
        bytes().prop_map(Frame::Bulk),
        Just(Frame::Null),
        any::<bool>().prop_map(Frame::Boolean),
        any::<f64>().prop_filter("NaN differs from itself", |f| !f.is_nan()).prop_map(Frame::Double),
        "-?[0-9]{1,30}".prop_map(|digits| Frame::BigNumber(digits.into_bytes())),
        bytes().prop_map(|text| Frame::Verbatim { format: *b"txt", text }),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let items = || prop::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            items().prop_map(Frame::Array),
            items().prop_map(Frame::Set),
            items().prop_map(Frame::Push),
            prop::collection::vec((inner.clone(), inner.clone()), 0..3).prop_map(Frame::Map),
        ]
    })
}

proptest! {
    #[test]
    fn frames_come_back_whole(frame in frames()) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes, Protocol::Resp3);
        bytes.extend_from_slice(b"+next\r\n");
        let whole = bytes.len() - 7;
        prop_assert_eq!(decode(&bytes), Ok(Some((frame, whole))));
        // Every proper beginning is incomplete, never another reply; and a scanner that sees them all agrees.
        let mut scanner = ReplyScanner::default();
        for end in 0..whole {
            prop_assert_eq!(decode(&bytes[..end]), Ok(None));
            prop_assert_eq!(scanner.scan(&bytes[..end]), Ok(None));
        }
        prop_assert_eq!(scanner.scan(&bytes), Ok(Some(whole)));
        prop_assert_eq!(scanner.scan(&bytes[whole..]), Ok(Some(7)));
    }

    #[test]
    fn a_downgraded_reply_is_what_the_frame_looks_like_in_resp2(frame in frames()) {
        let (mut resp3, mut expected, mut out) = (Vec::new(), Vec::new(), Vec::new());
        frame.encode(&mut resp3, Protocol::Resp3);
        frame.encode(&mut expected, Protocol::Resp2);
        prop_assert_eq!(downgrade(&resp3, &mut out), Ok(resp3.len()));
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn any_bytes_are_judged_alike_by_all_readers(
        input in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100),
            "[-+:$*_,#(!=%~>|0-3a\r\n]{0,40}".prop_map(String::into_bytes),
        ],
    ) {
        let len = decode(&input).map(|found| found.map(|(_, len)| len));
        prop_assert_eq!(&skip(&input), &len);
        let mut out = Vec::new();
        match downgrade(&input, &mut out) {
            Ok(taken) => {
                prop_assert_eq!(len, Ok(Some(taken)));
                prop_assert_eq!(skip(&out), Ok(Some(out.len())));
            }
            Err(error) => prop_assert!(len == Ok(None) || len == Err(error)),
        }
    }
}
