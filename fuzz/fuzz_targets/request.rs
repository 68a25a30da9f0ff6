//! Any bytes, cut anywhere: the request parser neither panics nor loops, and pieces come out as the whole does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Limits, Parsed, ProtocolError, RequestParser};

type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

fn read(input: &[u8], piece: usize, limits: &Limits) -> Outcome {
    let mut parser = RequestParser::new();
    let (mut front, mut end, mut commands) = (0, 0, Vec::new());
    while end < input.len() {
        end = input.len().min(end + piece);
        loop {
            match parser.parse(&input[front..end], limits) {
                Ok(Parsed::Command { consumed }) => {
                    let args: Vec<_> = parser.arguments(&input[front..end]).map(<[u8]>::to_vec).collect();
                    assert!(!args.is_empty());
                    commands.push(args);
                    front += consumed;
                }
                Ok(Parsed::Skip { consumed }) => {
                    assert!(consumed > 0);
                    front += consumed;
                }
                Ok(Parsed::Incomplete { needed }) => {
                    assert!(needed > end - front);
                    break;
                }
                Err(error) => return (commands, Some(error)),
            }
        }
    }
    (commands, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&piece, input)) = input.split_first() else { return };
    let limits = Limits { bulk_len_max: 1024, args_max: 64, inline_len_max: 64 << 10, ..Limits::default() };
    let whole = read(input, input.len().max(1), &limits);
    assert_eq!(read(input, usize::from(piece) + 1, &limits), whole);
});
