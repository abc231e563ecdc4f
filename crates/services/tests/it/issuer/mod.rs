//! The issuer's side: SP-TSM, clearing centre and payment sandbox, with a stand-in for the SE-TSM.

mod cash;
mod centre;
mod city;
mod claim_returns;
mod desk;
mod disputes;
mod hall;
mod hostile_phone;
mod interrupted;
mod locks;
mod migrating_in;
mod migrating_out;
mod offline;
mod online;
mod online_cuts;
mod opening;
mod payment_watch;
mod payments;
mod permissions;
mod phone;
mod repersonalising;
mod returning;
mod siblings;
mod top_up;
mod unauthorised;
mod unloading;
