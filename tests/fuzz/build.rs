//! Each plugin exports an entry of the same name. Nothing here calls one, so that the linker may take any.

fn main() {
    println!("cargo::rustc-link-arg-bins=-Wl,-z,muldefs");
    println!("cargo::rerun-if-changed=build.rs");
}
