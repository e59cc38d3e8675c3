#![no_main]

#[global_allocator]
static ALLOCATOR: guanaco_tests::counting::Counting = guanaco_tests::counting::Counting;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    guanaco_tests::fuzz::run("chat_template", data);
});
