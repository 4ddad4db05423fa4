from ironbridge.cli import main

main()
