//! With the feature `cassandra-cpp`: programs that are linked find the C++ driver where it was found for linking.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CASSANDRA_SYS_LIB_PATH");
    if std::env::var_os("CARGO_FEATURE_CASSANDRA_CPP").is_none() {
        return;
    }
    if let Ok(path) = std::env::var("CASSANDRA_SYS_LIB_PATH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{path}");
        println!("cargo::rustc-link-arg=-Wl,-rpath-link,{path}");
    }
}
