//! The request parser: what Redis accepts, what it refuses and in which words, and that pieces make no difference.

use proptest::prelude::*;
use wire::frame::encode_command;
use wire::{Limits, Parsed, ProtocolError, RequestParser};

type Command = Vec<Vec<u8>>;

/// Feeds a connection's bytes piece by piece, as reads would bring them; gives the commands and the error that ended it.
fn read(pieces: &[&[u8]], limits: &Limits) -> (Vec<Command>, Option<ProtocolError>) {
    let mut parser = RequestParser::new();
    let (mut buffer, mut front, mut commands) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.parse(&buffer[front..], limits) {
                Ok(Parsed::Command { consumed }) => {
                    commands.push(parser.arguments(&buffer[front..]).map(<[u8]>::to_vec).collect());
                    front += consumed;
                }
                Ok(Parsed::Skip { consumed }) => {
                    assert!(consumed > 0, "a skip that takes nothing would loop for ever");
                    front += consumed;
                }
                Ok(Parsed::Incomplete { needed }) => {
                    assert!(needed > buffer.len() - front, "asked for no more than it has");
                    break;
                }
                Err(error) => return (commands, Some(error)),
            }
        }
    }
    (commands, None)
}

fn read_whole(input: &[u8]) -> (Vec<Command>, Option<ProtocolError>) {
    read(&[input], &Limits::default())
}

fn error_of(input: &[u8]) -> String {
    read_whole(input).1.map_or("none".into(), |error| error.to_string())
}

#[test]
fn pipelined_commands_come_out_one_by_one() {
    let (commands, error) =
        read_whole(b"*1\r\n$4\r\nPING\r\n*0\r\n*-1\r\n*-10\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n\r\nget k\r\n\n");
    assert_eq!(error, None);
    let expected: Vec<Command> =
        vec![vec![b"PING".into()], vec![b"GET".into(), b"".into()], vec![b"get".into(), b"k".into()]];
    assert_eq!(commands, expected);
}

#[test]
fn refusals_use_the_words_of_redis() {
    let table: &[(&[u8], &str)] = &[
        (b"*3000000000\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*1048577\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*01\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*-0\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*\0", "ERR Protocol error: invalid multibulk length"),
        (b"*1\rX", "ERR Protocol error: invalid multibulk length"),
        (b"*9999999999999999999\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*00000000000000000000", "ERR Protocol error: too big mbulk count string"),
        (b"*-99999999999999999999999", "ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$-10\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$2000000000\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$blabla\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$+1\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$11111111111111111111", "ERR Protocol error: too big bulk count string"),
        (b"*1\r\nfoo\r\n", "ERR Protocol error: expected '$', got 'f'"),
        (b"*1\r\n\0", "ERR Protocol error: expected '$', got '\\x00'"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "ERR Protocol error: expected '$', got 'f'"),
        (b"*1\r\n$1\r\nabc\r\n", "ERR Protocol error: expected a line end after an argument"),
        (b"set \"\"\"key\"\"\" value\r\n", "ERR Protocol error: unbalanced quotes in request"),
        (b"POST / HTTP/1.1\r\n", "ERR Protocol error: this port speaks the Redis protocol, not HTTP"),
        (b"Host: localhost\r\n", "ERR Protocol error: this port speaks the Redis protocol, not HTTP"),
    ];
    for (input, expected) in table {
        assert_eq!(error_of(input), *expected, "{}", input.escape_ascii());
    }
}

#[test]
fn an_endless_inline_line_is_refused_whether_it_ends_or_not() {
    let mut line = vec![b'a'; (64 << 10) + 1];
    assert_eq!(read_whole(&line).1, Some(ProtocolError::InlineTooLong));
    line.push(b'\n');
    assert_eq!(read_whole(&line).1, Some(ProtocolError::InlineTooLong));
    let zeros = vec![0u8; (64 << 10) + 1];
    assert_eq!(read_whole(&zeros).1, Some(ProtocolError::InlineTooLong));
}

#[test]
fn a_stranger_may_send_little_before_auth() {
    let limits = Limits::unauthenticated();
    let read = |input: &[u8]| read(&[input], &limits).1.map(|e| e.to_string());
    let say = |what: &str| Some(format!("ERR Protocol error: unauthenticated {what} length"));
    assert_eq!(read(b"*10\r\n"), None);
    assert_eq!(read(b"*11\r\n"), say("multibulk"));
    assert_eq!(read(b"*2\r\n$4\r\nAUTH\r\n$16384\r\n"), None);
    assert_eq!(read(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n"), say("bulk"));
}

#[test]
fn the_whole_request_is_bounded_not_only_its_arguments() {
    let limits = Limits { request_len_max: 100, ..Limits::default() };
    let mut input = Vec::new();
    encode_command(&mut input, &[&[b'x'; 40], &[b'y'; 60]]);
    assert_eq!(read(&[&input], &limits), (vec![], Some(ProtocolError::RequestTooLong)));
}

#[test]
fn a_huge_announcement_costs_nothing_before_bytes_arrive() {
    // The count and the length are within the limits; only a hint comes out of them.
    let mut parser = RequestParser::new();
    let input = b"*1048576\r\n$536870912\r\nx";
    let needed = 10 + 12 + (512 << 20) + 2;
    assert_eq!(parser.parse(input, &Limits::default()), Ok(Parsed::Incomplete { needed }));
}

#[test]
fn a_million_arguments_in_small_reads_are_parsed_once() {
    // 12 MB in 16 KiB pieces; parsing again from the front at each piece would look at 4.5 GB.
    let args: Vec<&[u8]> = std::iter::repeat_n(&b"value"[..], 1_000_000).collect();
    let mut input = Vec::new();
    encode_command(&mut input, &args);
    let mut parser = RequestParser::new();
    let (mut seen, mut looked_at_end) = (0, false);
    for end in (0..input.len()).step_by(16 << 10).chain([input.len()]) {
        match parser.parse(&input[..end], &Limits::default()).unwrap() {
            Parsed::Command { consumed } => {
                assert_eq!((consumed, end), (input.len(), input.len()));
                assert!(parser.arguments(&input).all(|arg| arg == b"value"));
                seen = parser.arguments(&input).len();
                looked_at_end = true;
            }
            other => assert!(matches!(other, Parsed::Incomplete { .. })),
        }
    }
    assert!(looked_at_end);
    assert_eq!(seen, 1_000_000);
}

#[test]
fn another_input_than_the_parsed_one_is_harmless() {
    let mut parser = RequestParser::new();
    parser.parse(b"*2\r\n$3\r\nGET\r\n$100\r\nabc", &Limits::default()).unwrap();
    assert!(matches!(parser.parse(b"", &Limits::default()), Ok(Parsed::Incomplete { .. })));
    let mut parser = RequestParser::new();
    parser.parse(b"*1\r\n$4\r\nPING\r\n", &Limits::default()).unwrap();
    assert_eq!(parser.arguments(b"*1").collect::<Vec<_>>(), vec![b""]);
}

/// Cuts `input` at the given places (taken modulo its length).
fn pieces<'a>(input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    places.extend([0, input.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect()
}

/// Bytes that look like a request more often than not.
fn nearly_request() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"*".to_vec()),
        Just(b"$".to_vec()),
        Just(b"-".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"*2\r\n$1\r\na\r\n".to_vec()),
        "[0-9]{1,3}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn commands_survive_every_way_to_be_cut(
        commands in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), 0..6),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut input = Vec::new();
        for command in &commands {
            let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            encode_command(&mut input, &args);
        }
        let (parsed, error) = read(&pieces(&input, &cuts), &Limits::default());
        prop_assert_eq!(error, None);
        prop_assert_eq!(&parsed, &commands);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(read(&bytes, &Limits::default()), (commands, None));
    }

    #[test]
    fn any_bytes_end_alike_whole_and_in_pieces(
        input in prop_oneof![nearly_request(), prop::collection::vec(any::<u8>(), 0..200)],
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let limits = Limits { bulk_len_max: 64, args_max: 8, inline_len_max: 4096, ..Limits::default() };
        prop_assert_eq!(read(&pieces(&input, &cuts), &limits), read(&[&input], &limits));
    }
}
