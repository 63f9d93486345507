// main() of every test executable: one rank's failure fails the test on every rank, and each failing rank is heard.

#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdio>

namespace {

class AllRanks : public testing::EmptyTestEventListener {
public:
    AllRanks() {
        MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
        MPI_Comm_rank(comm_, &rank_);
    }
    void OnTestPartResult(const testing::TestPartResult& part) override {
        if (rank_ != 0 && part.failed())
            std::fprintf(stderr, "[rank %d] %s:%d: %s\n", rank_, part.file_name(), part.line_number(), part.message());
    }
    void OnTestEnd(const testing::TestInfo& test) override {
        const int mine = test.result()->Failed() ? 1 : 0;
        int any = mine;
        MPI_Allreduce(MPI_IN_PLACE, &any, 1, MPI_INT, MPI_MAX, comm_);
        if (any && !mine) ADD_FAILURE() << "failed on another rank";
    }

private:
    MPI_Comm comm_ = MPI_COMM_NULL;
    int rank_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    int provided = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    testing::InitGoogleTest(&argc, argv);
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    if (rank != 0) delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new AllRanks);
    const int status = RUN_ALL_TESTS();
    MPI_Finalize();
    return status;
}
