//! A shop of the city sells to a rider over the network: `opentsm shop` and `opentsm wallet pay-online`.

use serde_json::Value;

use crate::city::{CARD, Phone};
use crate::running::{Folder, Up, assert_money_adds_up, last_line, opentsm};

/// The shop does something.
fn shop(folder: &Folder, operation: &[&str]) -> Value {
    let arguments = [&["shop", "--city", folder.text(), "--json"], operation].concat();
    let output = opentsm(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    last_line(&output)
}

/// The books, once this much is spent.
fn books_with_spent(folder: &Folder, spent: i64) -> Value {
    for _ in 0..200 {
        let books = last_line(&opentsm(&["books", "--city", folder.text(), "--json"]));
        assert_money_adds_up(&books);
        if books["spent"] == spent {
            return books;
        }
    }
    panic!("the books never came to {spent} spent");
}

/// The shop addresses an order to the wallet's token; the wallet lists it, pays it from the card, and pays it
/// once; what the card does not hold is refused in both languages; what is given up is closed.
///
/// req: B-7.3.1.a, W-9.3.b
#[test]
fn a_rider_pays_a_shop_over_the_network() {
    let folder = Folder::new("online");
    let city = Up::start(&folder);
    let (purses, spent) = (city.fen("purses"), city.fen("spent"));
    let phone = Phone::switch_on(&folder, "4");
    phone.done(&["register", "--accept", "--number", "8613900000004"]);
    phone.done(&["open", CARD]);
    phone.done(&["top-up", CARD, "5000"]);
    let nothing = phone.done(&["orders"]);
    assert_eq!(nothing["orders"].as_array().unwrap().len(), 0);
    let token = nothing["payer"].as_str().unwrap().to_owned();
    assert_eq!(phone.ask(&["pay-online", CARD])["ending"], "failed", "nobody asks for money");

    let order = shop(&folder, &["order", "1200", "an umbrella", "--payer", &token]);
    let number = order["payment"].as_str().unwrap().to_owned();
    let listed = phone.done(&["orders"]);
    assert_eq!(
        (&listed["orders"][0]["payment"], &listed["orders"][0]["card"]),
        (&order["payment"], &"offered".into())
    );
    let paid = phone.done(&["pay-online", CARD]);
    assert_eq!((&paid["paid"], &paid["balance_fen"]), (&true.into(), &3_800.into()), "{paid}");
    assert_eq!(shop(&folder, &["show", &number])["state"], "paid");
    let again = phone.done(&["pay-online", CARD, &number]);
    assert_eq!((&again["paid"], &again["balance_fen"]), (&true.into(), &3_800.into()), "once");
    assert_eq!(phone.done(&["balance", CARD])["balance_fen"], 3_800);

    let dear = shop(&folder, &["order", "3801", "a lantern", "--payer", &token]);
    let dear = dear["payment"].as_str().unwrap().to_owned();
    for (language, word) in [("en", "too little"), ("zh", "余额不足")] {
        let refused = phone.ask(&["--language", language, "pay-online", CARD, &dear]);
        assert_eq!(refused["ending"], "refused");
        assert!(refused["error"].as_str().unwrap().contains(word), "{refused}");
    }
    assert_eq!(phone.done(&["interrupted"])["interrupted"], 0, "a refusal leaves nothing to continue");
    assert_eq!(shop(&folder, &["close", &dear])["state"], "closed");
    let books = books_with_spent(&folder, spent + 1_200);
    assert_eq!(books["purses"], purses + 3_800);
}
