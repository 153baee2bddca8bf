// The peer of the floor in `abn bench model`: the convolutions of a training step of ResNet-50, by oneDNN
// alone. No normalization, no other operation, every tensor in the layout that oneDNN likes best, random
// data, float32.
//
//     c++ -O2 -std=c++17 -o onednn_resnet50 Benchmarks/peers/onednn_resnet50.cpp -ldnnl
//     OMP_NUM_THREADS=2 ./onednn_resnet50 [BATCH [SIZE]]          (32 224)
//
// Prints one JSON object: seconds of all forward passes, data gradients and weight gradients (a median of
// 3 for each shape, after one run that does not count), their sum, the rate, and the version. Compiles
// against oneDNN 2.x and 3.x.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

using dnnl::memory;

namespace {

constexpr int repetitions = 3;

/// Channels in and out, height and width of the input, window, stride.
struct Convolution {
    int inputs, outputs, size, window, stride;
    int padding() const { return window / 2; }
    int outputSize() const { return (size + 2 * padding() - window) / stride + 1; }
    auto key() const { return std::make_tuple(inputs, outputs, size, window, stride); }
};

/// Table 1 of He et al. (CVPR 2016), 50 layers; a block halves the image in its 3 x 3, as torchvision does.
std::vector<Convolution> resnet50(int size) {
    std::vector<Convolution> all{{3, 64, size, 7, 2}};
    int image = (all[0].outputSize() + 2 - 3) / 2 + 1;  // the max-pool of 3 x 3, stride 2, padding 1
    int channels = 64;
    const int blocks[] = {3, 4, 6, 3};
    for (int stage = 0; stage < 4; ++stage) {
        const int width = 64 << stage;
        for (int block = 0; block < blocks[stage]; ++block) {
            const int stride = stage > 0 && block == 0 ? 2 : 1;
            all.push_back({channels, width, image, 1, 1});
            Convolution middle{width, width, image, 3, stride};
            all.push_back(middle);
            all.push_back({width, 4 * width, middle.outputSize(), 1, 1});
            if (block == 0) all.push_back({channels, 4 * width, image, 1, stride});
            image = middle.outputSize();
            channels = 4 * width;
        }
    }
    return all;
}

enum Pass { forward, dataGradient, weightGradient };

/// Calls `make` with what both versions of the API want after the propagation kind or nothing.
template <typename Primitive>
typename Primitive::primitive_desc describe(
    const dnnl::engine &engine, const memory::desc &x, const memory::desc &w, const memory::desc &y,
    const Convolution &c, const dnnl::convolution_forward::primitive_desc *hint) {
    const memory::dims strides{c.stride, c.stride}, padding{c.padding(), c.padding()};
    const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
    if constexpr (std::is_same_v<Primitive, dnnl::convolution_forward>)
        return {engine, dnnl::prop_kind::forward_training, algorithm, x, w, y, strides, padding, padding};
    else if constexpr (std::is_same_v<Primitive, dnnl::convolution_backward_data>)
        return {engine, algorithm, x, w, y, strides, padding, padding, *hint};
    else
        return {engine, algorithm, x, w, y, strides, padding, padding, *hint};
#else
    if constexpr (std::is_same_v<Primitive, dnnl::convolution_forward>)
        return {{dnnl::prop_kind::forward_training, algorithm, x, w, y, strides, padding, padding}, engine};
    else if constexpr (std::is_same_v<Primitive, dnnl::convolution_backward_data>)
        return {{algorithm, x, w, y, strides, padding, padding}, engine, *hint};
    else
        return {{algorithm, x, w, y, strides, padding, padding}, engine, *hint};
#endif
}

memory filled(const memory::desc &desc, const dnnl::engine &engine) {
    memory result(desc, engine);
    std::mt19937 random(7);
    std::uniform_real_distribution<float> uniform(-0.5f, 0.5f);
    float *numbers = static_cast<float *>(result.get_data_handle());
    // 64k of them, repeated: making them all would take longer than the convolution.
    const size_t count = desc.get_size() / sizeof(float), period = std::min<size_t>(count, 1 << 16);
    for (size_t i = 0; i < period; ++i) numbers[i] = uniform(random);
    for (size_t i = period; i < count; ++i) numbers[i] = numbers[i - period];
    return result;
}

double seconds(const Convolution &c, int batch, Pass pass, const dnnl::engine &engine) {
    const auto any = memory::format_tag::any;
    const auto f32 = memory::data_type::f32;
    const memory::desc x({batch, c.inputs, c.size, c.size}, f32, any);
    const memory::desc w({c.outputs, c.inputs, c.window, c.window}, f32, any);
    const memory::desc y({batch, c.outputs, c.outputSize(), c.outputSize()}, f32, any);
    dnnl::stream stream(engine);
    auto hint = describe<dnnl::convolution_forward>(engine, x, w, y, c, nullptr);
    dnnl::primitive primitive;
    std::unordered_map<int, memory> arguments;
    if (pass == forward) {
        primitive = dnnl::convolution_forward(hint);
        arguments = {{DNNL_ARG_SRC, filled(hint.src_desc(), engine)},
                     {DNNL_ARG_WEIGHTS, filled(hint.weights_desc(), engine)},
                     {DNNL_ARG_DST, filled(hint.dst_desc(), engine)}};
    } else if (pass == dataGradient) {
        auto desc = describe<dnnl::convolution_backward_data>(engine, x, w, y, c, &hint);
        primitive = dnnl::convolution_backward_data(desc);
        arguments = {{DNNL_ARG_DIFF_SRC, filled(desc.diff_src_desc(), engine)},
                     {DNNL_ARG_WEIGHTS, filled(desc.weights_desc(), engine)},
                     {DNNL_ARG_DIFF_DST, filled(desc.diff_dst_desc(), engine)}};
    } else {
        auto desc = describe<dnnl::convolution_backward_weights>(engine, x, w, y, c, &hint);
        primitive = dnnl::convolution_backward_weights(desc);
        arguments = {{DNNL_ARG_SRC, filled(desc.src_desc(), engine)},
                     {DNNL_ARG_DIFF_WEIGHTS, filled(desc.diff_weights_desc(), engine)},
                     {DNNL_ARG_DIFF_DST, filled(desc.diff_dst_desc(), engine)}};
    }
    std::vector<double> times;
    for (int round = 0; round <= repetitions; ++round) {
        const auto start = std::chrono::steady_clock::now();
        primitive.execute(stream, arguments);
        stream.wait();
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        if (round > 0) times.push_back(took.count());
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

int number(int argc, char **argv, int index, int otherwise) {
    if (argc <= index) return otherwise;
    char *end = nullptr;
    const long value = std::strtol(argv[index], &end, 10);
    if (*end != 0 || value < 1 || value > 100000) {
        std::fprintf(stderr, "onednn_resnet50: \"%s\" is not a number from 1 to 100000\n", argv[index]);
        std::exit(2);
    }
    return static_cast<int>(value);
}

}  // namespace

int main(int argc, char **argv) {
    const int batch = number(argc, argv, 1, 32), size = number(argc, argv, 2, 224);
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    double total[3] = {0, 0, 0}, operations = 0;
    std::map<std::tuple<int, int, int, int, int, int>, double> known;
    for (const Convolution &c : resnet50(size)) {
        for (Pass pass : {forward, dataGradient, weightGradient}) {
            if (pass == dataGradient && c.inputs == 3) continue;  // nobody wants the images' gradient
            const auto key = std::tuple_cat(c.key(), std::make_tuple(static_cast<int>(pass)));
            if (!known.count(key)) known[key] = seconds(c, batch, pass, engine);
            total[pass] += known[key];
            operations += 2.0 * batch * c.outputs * c.inputs * c.window * c.window * c.outputSize() *
                          c.outputSize();
        }
    }
    const double sum = total[0] + total[1] + total[2];
    const dnnl_version_t *version = dnnl_version();
    std::printf(
        "{\"forwardSeconds\": %.6f, \"dataGradientSeconds\": %.6f, \"weightGradientSeconds\": %.6f, "
        "\"seconds\": %.6f, \"gflops\": %.1f, \"version\": \"%d.%d.%d\"}\n",
        total[0], total[1], total[2], sum, operations / sum / 1e9, version->major, version->minor,
        version->patch);
}
