//! Which functions a keyspace can have: those of which samples do not show that they merge nothing.
// catalogue: J13
// bugs: ML-16

use data::causal::MergeEngine;
use merging::Lua;

pub const UNION: &str = "
    local seen, all = {}, {}
    for _, list in ipairs({a.value, b.value}) do
        for item in list:gmatch('[^,]+') do
            if not seen[item] then seen[item] = true; all[#all + 1] = item end
        end
    end
    table.sort(all)
    return table.concat(all, ',')";

#[test]
fn functions_that_merge_are_accepted() {
    for function in [
        "return math.max(tonumber(a.value), tonumber(b.value))",
        "if tonumber(a.value) > tonumber(b.value) then return a.value end return b.value",
        "if a.value > b.value then return a.value else return b.value end",
        // The last one, and the first one, with a word on what is written at once.
        "if a.time ~= b.time then return a.time > b.time and a.value or b.value end
         return a.value > b.value and a.value or b.value",
        "if a.time ~= b.time then return a.time < b.time and a.value or b.value end
         return a.value > b.value and a.value or b.value",
        // Longest, then greatest.
        "if #a.value ~= #b.value then return #a.value > #b.value and a.value or b.value end
         return a.value > b.value and a.value or b.value",
        "return (a.value == 'true' or b.value == 'true') and 'true' or 'false'",
        UNION,
    ] {
        assert_eq!(Lua.accept(function), Ok(()), "{function}");
    }
}

#[test]
fn functions_that_do_not_merge_are_refused_with_a_sample() {
    for (function, part) in [
        ("return a.value", "which value comes first"),
        ("return a.value .. b.value", "which value comes first"),
        ("return a.time > b.time and a.value or b.value", "which value comes first"),
        ("if a.value < b.value then return a.value end", "which value comes first"),
        ("return tonumber(a.value) + tonumber(b.value)", "counts twice"),
        ("return (tonumber(a.value) + tonumber(b.value)) / 2", "counts twice"),
        ("return #a.value + #b.value", "counts twice"),
        ("return tostring(a.time + b.time)", "counts twice"),
        ("while true do end", "cut off"),
        ("if a.value == '10' then while true do end end return math.max(#a.value, #b.value)", "cut off"),
        ("return", "gave nothing"),
        ("error('never')", "never"),
        ("return a.price", "gave nothing"),
        ("this is no Lua", "no Lua"),
        ("return os.time()", "gave nothing"),
        ("  ", "between 1 and"),
    ] {
        let why = Lua.accept(function).expect_err(function);
        assert!(why.contains(part), "{function}: {why}");
    }
    assert!(Lua.accept(&format!("return 'x' -- {}", "x".repeat(9000))).is_err());
}

/// Rock, paper, scissors: commutative, and one value merged twice is one, but three depend on their order.
#[test]
fn the_order_of_three_must_not_matter() {
    let function = "
        local beats = { ['0'] = '1', ['1'] = '9', ['9'] = '0' }
        if beats[a.value] == b.value then return a.value end
        if beats[b.value] == a.value then return b.value end
        error('other values')";
    let why = Lua.accept(function).expect_err("no order");
    assert!(why.contains("three values"), "{why}");
}
