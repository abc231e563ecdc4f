//! The catalogue's lists, each in its own order.

use tsm_api::HexBytes;
use tsm_api::se_tsm::operator::{
    ApplicationDefinition, CatalogueText, Listing, ManagingDomain, Publication, Suspension,
};
use tsm_api::se_tsm::wallet::{CatalogueList, CatalogueQuery, Operation};
use tsm_iso7816::Aid;

use crate::phone::Phone;
use crate::se_tsm::done;
use crate::world::{World, definition, upload_of};

async fn names(phone: &Phone, list: CatalogueList, class: Option<&str>) -> Vec<String> {
    let query = CatalogueQuery { list, class: class.map(str::to_owned), ..CatalogueQuery::default() };
    let page = phone.wallet.applications(&query).await.unwrap();
    page.entries.into_iter().map(|entry| entry.name).collect()
}

async fn download(phone: &mut Phone, name: &str) {
    let query = CatalogueQuery { list: CatalogueList::Latest, ..CatalogueQuery::default() };
    let page = phone.wallet.applications(&query).await.unwrap();
    let entry = page.entries.into_iter().find(|entry| entry.name == name).unwrap();
    let aid: HexBytes = entry.aid;
    done(phone.operate(Operation::Download, &aid, &entry.ticket.unwrap()).await);
}

/// Four lists of the same applications: by release, by the operator's word, by downloads, by class. What
/// is suspended, and what was not tested with this batch, is in none of them.
///
/// req: W-6.4.1.a, W-6.4.1.c, W-6.4.1.d, W-6.4.1.e, W-6.4.1.f
#[tokio::test]
async fn each_list_has_its_order() {
    let world = World::new().await;
    let person = world.operator_desk().await;
    let wanted = [
        ("Bus", "transport", Some(2)),
        ("Library", "membership", None),
        ("Metro", "transport", Some(1)),
        ("Old", "membership", Some(3)),
    ];
    for (index, (name, class, recommendation)) in wanted.into_iter().enumerate() {
        let number = u8::try_from(index).unwrap();
        let package = Aid::new(&[0xF0, 1, 2, 3, 4, 5, number]).unwrap();
        let module = Aid::new(&[0xF0, 1, 2, 3, 4, 5, number, 1]).unwrap();
        let plain = definition(None, ManagingDomain::Issuer);
        let catalogue = CatalogueText { class: class.into(), ..plain.catalogue.clone() };
        let definition = ApplicationDefinition { catalogue, ..plain };
        let publication = Publication { recommendation, ..Publication::default() };
        let upload = upload_of(name, package, module);
        let record = world.publish_package(&person, &upload, &definition, &publication).await;
        if name == "Old" {
            let suspension = Suspension { listing: Listing::On, reason: "a fault".into() };
            world.people.clerk.suspend(record.application, &suspension).await.unwrap();
        }
    }
    let mut phone = world.phone(1);
    done(phone.register("13800138000").await);
    let mut other = world.phone(2);
    done(other.register("13900139000").await);
    download(&mut phone, "Library").await;
    download(&mut other, "Library").await;
    download(&mut other, "Bus").await;

    assert_eq!(names(&phone, CatalogueList::Latest, None).await, ["Metro", "Library", "Bus"]);
    assert_eq!(names(&phone, CatalogueList::Recommendation, None).await, ["Metro", "Bus"]);
    assert_eq!(names(&phone, CatalogueList::Hottest, None).await, ["Library", "Bus", "Metro"]);
    let class = CatalogueList::Classification;
    assert_eq!(names(&phone, class, Some("transport")).await, ["Bus", "Metro"]);
    assert_eq!(names(&phone, class, Some("membership")).await, ["Library"]);
    assert!(names(&phone, class, Some("bank")).await.is_empty());
    assert_eq!(names(&phone, class, None).await, ["Library", "Bus", "Metro"], "by class, then by AID");
}
