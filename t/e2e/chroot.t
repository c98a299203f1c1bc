#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What a worker does once it is ready, as the kernel saw it: no path is opened and no socket name
# connected to, whatever restarts around it. cleanup and qmgr name files of the queue, and only
# relative to its descriptor.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Gatepost::Tables;
use Test::More;

need('strace');
my $dir = tempdir('chroot');
my $sink = Gatepost::Sink->new(addr => '127.0.0.3', port => 25);
my $lmtp = Gatepost::Sink->new(path => "$dir/lmtp", lmtp => 1);
# No cache knows the second name when the name server has gone.
my $zone = "next A 127.0.0.3\naway A 127.0.0.3\n";
my $dns = Gatepost::Dns->new(zones => { test => $zone });
my $gp = Gatepost::Instance->new(main => {
    virtual_mailbox_domains => 'boxes.test', virtual_transport => "lmtp:unix:$dir/lmtp",
    unix_nexthop_directories => '/tmp', smtpd_peername_lookup => 'yes',
    virtual_mailbox_maps => table('hash', "$dir/boxes", "one\@boxes.test x\n"),
    virtual_alias_maps => table('hash', "$dir/aliases", "alias\@boxes.test one\@boxes.test\n"),
    smtpd_client_connection_count_limit => 50, queue_file_delay => '1s',
});
$gp->start;

my %traced = map { my $role = $_; map { $_ => $role } @{ $gp->roles->{$role} // [] } }
    qw(smtpd cleanup qmgr keeper smtp-client resolver tally);
my $trace = "$dir/trace";
my $strace = spawn({ out => "$dir/strace" }, 'strace', '-f', '-o', $trace, '-s', '200',
    '-e', 'trace=%file,connect', map { ('-p', $_) } keys %traced);
ok(wait_until(20, sub { keys %traced <= (() = (slurp("$dir/strace") // '') =~ /attached/g) }),
    'every worker is watched') or diag slurp("$dir/strace");

my $serial = 0;
# A message each way within SECONDS of now.
sub passes {
    my ($name, $seconds) = @_;
    my $rcpt = 'r' . ++$serial . '@next.test';
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($gp->mail('a@client.test', [$rcpt, 'alias@boxes.test'], "Subject: $name\r\n\r\nx\r\n")->{code}, 250, $name);
    ok(wait_until($seconds // 5, sub { grep { $_->{rcpts}[0] eq $rcpt } $sink->messages }), "$name: by DNS");
    ok(wait_until($seconds // 5, sub { grep { $_->{content} =~ /^Subject: \Q$name\E\r/m } $lmtp->messages }), "$name: by LMTP");
}
passes('at first');

# Everything around restarts; what was deferred meanwhile goes as soon as it is back.
$dns->stop;
$lmtp->stop;
is($gp->mail('a@client.test', ['away@away.test', 'one@boxes.test'], "Subject: away\r\n\r\nx\r\n")->{code}, 250, 'while they are away');
$gp->wait_log(qr/to=<one\@boxes\.test>, .* status=deferred \(connect to \S+: (?:Connection refused|No such file or directory)\)/, 'no LMTP server');
$gp->wait_log(qr/to=<away\@away\.test>, .* status=deferred \(Host or domain name not found/, 'no name server', 60);
$lmtp->start;
$dns->start;
ok(wait_until(5, sub { grep { $_->{content} =~ /^Subject: away\r/m } $lmtp->messages }), 'LMTP is back: delivered');
ok(wait_until(8, sub { grep { $_->{rcpts}[0] eq 'away@away.test' } $sink->messages }), 'the name server is back: delivered');
is(($gp->tool('gatepost', 'logrotate'))[0], 0, 'the log begins a new file');
$gp->{marks} = 0;
passes('behind the new log');
table('hash', "$dir/aliases", "alias\@boxes.test two\@boxes.test\n");
table('hash', "$dir/boxes", "one\@boxes.test x\ntwo\@boxes.test x\n");
ok(wait_until(8, sub {
    $gp->mail('a@client.test', 'alias@boxes.test', "Subject: new table\r\n\r\nx\r\n");
    grep { $_->{rcpts}[0] eq 'two@boxes.test' } $lmtp->messages;
}), 'a replaced table is used');
passes('behind the new tables');
ok($gp->drained, 'nothing is left');
is_deeply([sort grep { is_alive($_) } keys %traced], [sort keys %traced], 'all of them still run');
stop_pid($strace, 'INT');

my %bad;
for my $line (split /\n/, slurp($trace)) {
    my ($pid, $call) = $line =~ /^(\d+)\s+(\w+\(.*)/ or next;
    my $role = $traced{$pid} // 'a child';
    next if $role =~ /^(?:cleanup|qmgr|keeper)$/ && $call =~ /^\w+\(\d+, "[^\/"][^"]*"/ && $call !~ /"\.\.\/|\/\.\.\//;
    next if $call =~ /^(?:newfstatat\(\d+, ""|utimensat\(\d+, NULL)/;    # of a descriptor alone
    # db_env_create counts processors; it finds no such file and takes one.
    next if $call =~ m{^openat\(AT_FDCWD, "/(?:sys/devices/system/cpu/online|proc/stat)", O_RDONLY};
    next if $call =~ /^connect\(\d+, \{sa_family=AF_INET6?,/;
    $bad{"$role: $call"} = 1;
}
is(join("\n", (sort keys %bad)[0 .. (keys %bad > 20 ? 19 : keys(%bad) - 1)]), '', 'no path was opened, no name connected to');
like(slurp($trace), qr/connect\(.*sin_addr=inet_addr\("127\.0\.0\.3"\)/, 'the watcher saw what there was');
$gp->stop;
done_testing;
