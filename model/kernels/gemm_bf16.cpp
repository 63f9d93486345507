#include "model/kernels/gemm_bf16.hpp"

#include <cassert>

#include "base/error.hpp"

#ifdef ULMPI_ONEDNN

#include <oneapi/dnnl/dnnl.hpp>

#include <array>
#include <map>
#include <mutex>
#include <vector>

#include "model/kernels/one_thread.hpp"

namespace ulmpi {
namespace {

using dnnl::memory;

/// A product y = a b (+ y) as the library sees it: extents m, n, k, and the two strides of each matrix.
struct Product {
    std::array<memory::dim, 3> extents;
    std::array<memory::dim, 2> a, b, y;
    bool add;
    auto operator<=>(const Product&) const = default;
};

struct Prepared {
    dnnl::matmul run;
    memory::desc a, b, y, scratch;
};

const dnnl::engine& engine() {
    static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
    return cpu;
}

Prepared prepare(const Product& p) {
    const auto [m, n, k] = p.extents;
    const auto matrix = [](memory::dim rows, memory::dim columns, memory::data_type type, const auto& strides) {
        return memory::desc({rows, columns}, type, memory::dims{strides[0], strides[1]});
    };
    const memory::desc a = matrix(m, k, memory::data_type::bf16, p.a), b = matrix(k, n, memory::data_type::bf16, p.b),
                       y = matrix(m, n, memory::data_type::f32, p.y);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // a primitive may run on several threads at once
    if (p.add) {
        dnnl::post_ops sum;
        sum.append_sum(1);
        attributes.set_post_ops(sum);
    }
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, y), attributes, engine());
    return {dnnl::matmul(description), a, b, y, description.scratchpad_desc()};
}

/// Making a product ready generates code, so each is made once and found again.
const Prepared& prepared(const Product& product) {
    static std::mutex mutex;
    static std::map<Product, Prepared> known;
    const std::lock_guard lock(mutex);
    const auto found = known.find(product);
    return found != known.end() ? found->second : known.emplace(product, prepare(product)).first->second;
}

memory::dim dim(std::size_t n) { return static_cast<memory::dim>(n); }

template <typename T>
std::array<memory::dim, 2> strides(const Matrix<T>& x) {
    return {dim(x.stride), 1};
}
template <typename T>
std::array<memory::dim, 2> transposed_strides(const Matrix<T>& x) {
    return {1, dim(x.stride)};
}

void multiply(const Product& product, float* y, const BFloat16* a, const BFloat16* b) {
    if (product.extents[0] == 0 || product.extents[1] == 0) return;
    const OneThread one_thread;
    try {
        const Prepared& p = prepared(product);
        thread_local dnnl::stream stream(engine());
        thread_local std::vector<std::byte> scratch;
        if (scratch.size() < p.scratch.get_size()) scratch.resize(p.scratch.get_size());
        const auto in = [](const BFloat16* data) { return const_cast<BFloat16*>(data); };
        p.run.execute(stream, {{DNNL_ARG_SRC, memory(p.a, engine(), in(a))},
                               {DNNL_ARG_WEIGHTS, memory(p.b, engine(), in(b))},
                               {DNNL_ARG_DST, memory(p.y, engine(), y)},
                               {DNNL_ARG_SCRATCHPAD, memory(p.scratch, engine(), scratch.data())}});
        stream.wait();
    } catch (const dnnl::error& error) {
        throw Error(std::string("a bf16 product failed in oneDNN: ") + error.what());
    }
}

}  // namespace

std::string no_bf16_reason() {
    const auto isa = dnnl::get_effective_cpu_isa();
    const bool native = isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
    return native ? "" : "this CPU has no bf16 instructions (AVX512_BF16 or AMX)";
}

void matmul_nt(Matrix<float> y, Matrix<const BFloat16> a, Matrix<const BFloat16> b, bool add) {
    assert(y.rows == a.rows && y.columns == b.rows && a.columns == b.columns);
    multiply({{dim(y.rows), dim(y.columns), dim(a.columns)}, strides(a), transposed_strides(b), strides(y), add},
             y.data, a.data, b.data);
}

void matmul_nn(Matrix<float> y, Matrix<const BFloat16> a, Matrix<const BFloat16> b, bool add) {
    assert(y.rows == a.rows && y.columns == b.columns && a.columns == b.rows);
    multiply({{dim(y.rows), dim(y.columns), dim(a.columns)}, strides(a), strides(b), strides(y), add}, y.data, a.data,
             b.data);
}

void matmul_tn(Matrix<float> y, Matrix<const BFloat16> a, Matrix<const BFloat16> b, bool add) {
    assert(y.rows == a.columns && y.columns == b.columns && a.rows == b.rows);
    multiply({{dim(y.rows), dim(y.columns), dim(a.rows)}, transposed_strides(a), strides(b), strides(y), add}, y.data,
             a.data, b.data);
}

}  // namespace ulmpi

#else

namespace ulmpi {

std::string no_bf16_reason() { return "this program was built without oneDNN (libdnnl-dev)"; }

void matmul_nt(Matrix<float>, Matrix<const BFloat16>, Matrix<const BFloat16>, bool) { throw Error(no_bf16_reason()); }
void matmul_nn(Matrix<float>, Matrix<const BFloat16>, Matrix<const BFloat16>, bool) { throw Error(no_bf16_reason()); }
void matmul_tn(Matrix<float>, Matrix<const BFloat16>, Matrix<const BFloat16>, bool) { throw Error(no_bf16_reason()); }

}  // namespace ulmpi

#endif
