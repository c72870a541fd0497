from pure import main
main()
