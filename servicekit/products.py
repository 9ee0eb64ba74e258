"""How many threads numpy multiplies with."""

from threadpoolctl import ThreadpoolController


def multiply_alone() -> None:
    """Keeps numpy's products on the thread that asks for them, in the whole process.

    The products here are small, and callers run side by side already. BLAS's threads wait for
    their share by spinning: on a busy machine that made the comparison of pictures three times
    slower. Other libraries' products, torch's and FAISS's, are left as they are.
    """
    blas = ThreadpoolController().select(user_api="blas").lib_controllers
    for library in blas:
        if "numpy" in library.filepath:
            library.set_num_threads(1)
