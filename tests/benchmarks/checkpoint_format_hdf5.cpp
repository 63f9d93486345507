// The two ways to write a checkpoint that docs/checkpoints.md decided against, for comparison: per-rank files under a
// master of virtual datasets, and parallel HDF5 over MPI-IO. Linked with parallel HDF5, hence a program of its own.
//   mpirun -n 2 checkpoint_format_hdf5 virtual|mpiio FOLDER [write|read|both]

#define H5_USE_110_API
#include <fcntl.h>
#include <hdf5.h>
#include <mpi.h>
#include <unistd.h>

#include <filesystem>

#include "tests/benchmarks/checkpoint_format.hpp"

namespace {

using namespace ulmpi::benchmark;

int rank = 0, ranks = 1;

// This rank's rows or columns of tensor t, as a selection.
void my_box(int t, hsize_t start[2], hsize_t count[2]) {
    start[0] = start[1] = 0;
    count[0] = tensor_rows, count[1] = tensor_columns;
    const int axis = sliced_axis(t);
    count[axis] /= static_cast<hsize_t>(ranks);
    start[axis] = count[axis] * static_cast<hsize_t>(rank);
}

void must(bool ok, const char* what) {
    if (ok) return;
    std::fprintf(stderr, "[rank %d] failed: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

hid_t matrix_space(const hsize_t size[2]) { return H5Screate_simple(2, size, nullptr); }

// ---- (a) a file a rank, and a master whose virtual datasets stitch them together

std::string part_name(int r) { return "part-" + std::to_string(r) + ".h5"; }

void write_virtual(const std::filesystem::path& folder, const std::vector<float>& values) {
    const std::filesystem::path mine = folder / part_name(rank);
    const hid_t file = H5Fcreate(mine.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    must(file >= 0, "create");
    for (int t = 0; t < tensors; ++t) {
        hsize_t start[2], count[2];
        my_box(t, start, count);
        const hid_t space = matrix_space(count);
        const hid_t set =
            H5Dcreate2(file, tensor_name(t).c_str(), H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        must(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0, "write");
        H5Dclose(set);
        H5Sclose(space);
    }
    must(H5Fclose(file) >= 0, "close");
    sync_file(mine);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank != 0) return;
    const std::filesystem::path master = folder / "master.h5";
    const hid_t all = H5Fcreate(master.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hsize_t whole_size[2] = {tensor_rows, tensor_columns};
    const int me = rank;
    for (int t = 0; t < tensors; ++t) {
        const hid_t list = H5Pcreate(H5P_DATASET_CREATE), whole = matrix_space(whole_size);
        for (rank = 0; rank < ranks; ++rank) {
            hsize_t start[2], count[2];
            my_box(t, start, count);
            const hid_t part = matrix_space(count);
            H5Sselect_hyperslab(whole, H5S_SELECT_SET, start, nullptr, count, nullptr);
            H5Pset_virtual(list, whole, part_name(rank).c_str(), tensor_name(t).c_str(), part);
            H5Sclose(part);
        }
        rank = me;
        H5Sselect_all(whole);
        H5Dclose(H5Dcreate2(all, tensor_name(t).c_str(), H5T_IEEE_F32LE, whole, H5P_DEFAULT, list, H5P_DEFAULT));
        H5Sclose(whole);
        H5Pclose(list);
    }
    must(H5Fclose(all) >= 0, "close of the master");
    sync_file(master);
}

// ---- (b) one file, written together

void write_mpiio(const std::filesystem::path& folder, const std::vector<float>& values) {
    const std::filesystem::path path = folder / "whole.h5";
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS), transfer = H5Pcreate(H5P_DATASET_XFER);
    H5Pset_fapl_mpio(access, MPI_COMM_WORLD, MPI_INFO_NULL);
    H5Pset_dxpl_mpio(transfer, H5FD_MPIO_COLLECTIVE);
    const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
    must(file >= 0, "create");
    const hsize_t whole_size[2] = {tensor_rows, tensor_columns};
    for (int t = 0; t < tensors; ++t) {
        hsize_t start[2], count[2];
        my_box(t, start, count);
        const hid_t whole = matrix_space(whole_size), part = matrix_space(count);
        const hid_t set =
            H5Dcreate2(file, tensor_name(t).c_str(), H5T_IEEE_F32LE, whole, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Sselect_hyperslab(whole, H5S_SELECT_SET, start, nullptr, count, nullptr);
        must(H5Dwrite(set, H5T_NATIVE_FLOAT, part, whole, transfer, values.data()) >= 0, "write");
        H5Dclose(set);
        H5Sclose(whole);
        H5Sclose(part);
    }
    must(H5Fclose(file) >= 0, "close");
    sync_file(path);
    H5Pclose(access);
    H5Pclose(transfer);
}

void read_slices(const std::filesystem::path& path, std::vector<float>& values) {
    const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    must(file >= 0, "open");
    std::size_t zeros = 0;
    for (int t = 0; t < tensors; ++t) {
        hsize_t start[2], count[2];
        my_box(t, start, count);
        const hid_t set = H5Dopen2(file, tensor_name(t).c_str(), H5P_DEFAULT);
        const hid_t whole = H5Dget_space(set), part = matrix_space(count);
        H5Sselect_hyperslab(whole, H5S_SELECT_SET, start, nullptr, count, nullptr);
        must(H5Dread(set, H5T_NATIVE_FLOAT, part, whole, H5P_DEFAULT, values.data()) >= 0, "read");
        zeros += values[values.size() / 2] == 0 ? 1U : 0U;
        H5Dclose(set);
        H5Sclose(whole);
        H5Sclose(part);
    }
    H5Fclose(file);
    if (zeros > 0) std::printf("[rank %d] %zu of %d tensors read as zeros, without an error\n", rank, zeros, tensors);
}

}  // namespace

int main(int argc, char** argv) {
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc < 3) return std::fprintf(stderr, "usage: checkpoint_format_hdf5 virtual|mpiio FOLDER [write|read|both]\n");
    const std::string way = argv[1], what = argc > 3 ? argv[3] : "both";
    const std::filesystem::path folder = argv[2];
    std::vector<float> values(tensor_elements / static_cast<std::size_t>(ranks));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = noise(i);
    const auto now = [] { return MPI_Barrier(MPI_COMM_WORLD), MPI_Wtime(); };
    double begin = now();
    if (what != "read") {
        way == "virtual" ? write_virtual(folder, values) : write_mpiio(folder, values);
        report(rank, way, "write", now() - begin);
    }
    if (what != "write") {
        if (rank == 0) forget_pages(folder);
        begin = now();
        read_slices(folder / (way == "virtual" ? "master.h5" : "whole.h5"), values);
        report(rank, way, "read", now() - begin);
    }
    MPI_Finalize();
}
