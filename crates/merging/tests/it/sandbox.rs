//! A function gets two values and their times and nothing else; whatever it does, it ends, alike on every node.
// catalogue: J13

use data::causal::{Given, MergeEngine};
use merging::{Lua, VALUE_LEN_MAX};
use std::time::{Duration, Instant};

fn merge(function: &str) -> Result<String, String> {
    on(function, b"100", b"150").map(|value| String::from_utf8_lossy(&value).into_owned())
}

fn on(function: &str, one: &[u8], other: &[u8]) -> Result<Vec<u8>, String> {
    Lua.merge(function, Given { value: one, time_ms: 1000 }, Given { value: other, time_ms: 2000 })
}

#[test]
fn it_gets_both_values_and_their_times() {
    assert_eq!(merge("return a.value .. ' ' .. b.value"), Ok("100 150".into()));
    assert_eq!(merge("return b.time - a.time"), Ok("1000".into()));
    assert_eq!(merge("return math.max(tonumber(a.value), tonumber(b.value))"), Ok("150".into()));
    assert_eq!(merge("function(one, other) return other.value end"), Ok("150".into()));
    assert_eq!(merge("\n  function (x) -- a remark\n return x.value end -- the end"), Ok("100".into()));
    assert_eq!(on("return a.value", b"\x00\xff\r\n", b""), Ok(b"\x00\xff\r\n".to_vec()));
    assert_eq!(merge("return 0.5"), Ok("0.5".into()));
}

#[test]
fn what_it_gives_must_be_a_value() {
    for (function, gave) in [
        ("return nil", "nil"),
        ("return true", "boolean"),
        ("return {}", "table"),
        ("local x = 1", "nil"),
        ("return string.rep('x', 70000)", "more than"),
    ] {
        let why = merge(function).expect_err(function);
        assert!(why.contains("it gave") && why.contains(gave), "{function}: {why}");
    }
    let long = vec![b'x'; VALUE_LEN_MAX + 1];
    assert!(on("return a.value", &long, b"").expect_err("too long").contains("bytes"));
}

/// No clock, no chance, no files, nothing that would be kept, nothing that could catch its end.
#[test]
fn what_is_not_there() {
    for name in [
        "os",
        "io",
        "debug",
        "package",
        "require",
        "module",
        "coroutine",
        "load",
        "loadstring",
        "loadfile",
        "dofile",
        "pcall",
        "xpcall",
        "collectgarbage",
        "gcinfo",
        "newproxy",
        "setmetatable",
        "getmetatable",
        "setfenv",
        "getfenv",
        "rawget",
        "rawset",
        "rawequal",
        "next",
        "print",
        "_G",
        "math.random",
        "math.randomseed",
        "math.sin",
        "string.dump",
        "table.maxn",
        "('').dump",
    ] {
        assert_eq!(merge(&format!("return type({name})")), Ok("nil".into()), "{name}");
    }
}

#[test]
fn nothing_is_kept_between_two_calls() {
    let counts =
        "count = (count or 0) + 1; string.count = (string.count or 0) + 1; return count + string.count";
    assert_eq!(merge(counts), Ok("2".into()));
    assert_eq!(merge(counts), Ok("2".into()));
}

#[test]
fn an_error_is_told_in_one_line() {
    let why = merge("error('not\\nlike this')").expect_err("an error");
    assert!(why.contains("it failed") && why.contains("not") && !why.contains('\n'), "{why}");
    let why = merge("\n\nreturn a.value.x.y").expect_err("an error");
    assert!(why.contains("merge:3:"), "{why}");
    let why = merge("return a.value +").expect_err("no Lua");
    assert!(why.contains("it is no Lua"), "{why}");
    let why = merge("\x1bLua").expect_err("no text");
    assert!(why.contains("it is no Lua"), "{why}");
    assert!(merge("error(string.rep('x', 5000))").expect_err("an error").len() < 300);
}

#[test]
fn whatever_runs_away_is_cut_off() {
    let all = [
        "while true do end",
        "while true do local ok = type(1) end",
        "local function f() return f() end return f()",
        "local function f() return 1 + f() end return f()",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 1e9)",
        "return string.rep('', 1e15)",
        "return string.rep('x', '1000000000')",
        "local s = string.rep('a', 30000) return string.find(s, 'a*a*a*a*a*a*b')",
        "local s = string.rep('a', 30000) return (s:gsub('a-a-a-a-b', ''))",
        "local s = string.rep('a', 3000) return string.find(s, string.rep('a?', 300))",
        "local s = string.rep('a', 60000) while true do s:upper() end",
        "local s = string.rep('a', 60000) while true do s:find('b', 1, true) end",
        "local t = {} for i = 1, 9000 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end",
        "local t = {} for i = 1, 9000 do t[i] = -i end while true do table.sort(t) end",
        "local t = {} for i = 1, 9000 do t[i] = 'x' end while true do table.concat(t) end",
        "local s = string.rep('a', 200000) while true do local x = s .. s end",
        "local t = {1} for k in pairs(t) do while true do for _ in pairs(t) do end end end",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "string.gsub('aaa', 'a', function() while true do end end)",
    ];
    for function in all {
        let began = Instant::now();
        let why = merge(function).expect_err(function);
        assert!(why.contains("cut off") || why.contains("stack overflow"), "{function}: {why}");
        // Far from what it would take, and far above what it does take.
        assert!(began.elapsed() < Duration::from_secs(10), "{function}: {:?}", began.elapsed());
        assert_eq!(merge(function), Err(why), "{function}: its end is the same each time");
    }
}

/// Addresses would differ from call to call, and so would the order of a table's keys.
#[test]
fn no_address_is_seen() {
    for function in
        ["return tostring({})", "return tostring(type)", "return string.format('%s', {})", "return {} .. ''"]
    {
        assert!(merge(function).is_err(), "{function}");
    }
    assert!(merge("local t = {} t[{}] = 1 for k in pairs(t) do end return 'x'").is_err());
    let keys = "local t, s = {}, '' for _, k in ipairs({'z', 3, 'b', true, -1, 'a', 2.5}) do t[k] = 1 end
        t.b = nil for k in pairs(t) do s = s .. tostring(k) .. ' ' end return s";
    assert_eq!(merge(keys), Ok("-1 2.5 3 a z true ".into()));
    assert_eq!(
        merge(
            "local t = {x = 1, y = 2} for k in pairs(t) do t[k] = nil end
        for k in pairs(t) do return k end return 'empty'"
        ),
        Ok("empty".into())
    );
}

/// What functions are written for: joining two lists.
#[test]
fn a_union_of_long_lists_is_within_the_allowance() {
    let list = |from: u32| (from..from + 500).map(|it| it.to_string()).collect::<Vec<_>>().join(",");
    let union = crate::accepted::UNION;
    let merged = on(union, list(1000).as_bytes(), list(1200).as_bytes()).expect("a list");
    assert_eq!(merged.iter().filter(|byte| **byte == b',').count(), 699);
}
