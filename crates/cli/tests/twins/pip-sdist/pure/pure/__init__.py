import platform


def main():
    print("pure", platform.machine(), __file__)
